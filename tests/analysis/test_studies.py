"""Every study runs through; nothing is measured twice; pages say what was found and nothing else."""

from functools import cached_property
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import site_lens as sl
from analysis import measurements, studies
from analysis.lab import Lab
from analysis.results import Result
from analysis.settings import STUDIES_TOML, Settings
from site_lens.models.base import LensModel
from tests.fakes import fake_transfer

ANALYSIS = STUDIES_TOML.parent
TINY = Path(__file__).with_name("tiny.toml")
OPEN = "not testable at this size"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all studies of this module keep what they make, named as the command names it."""
    return tmp_path_factory.mktemp("studies") / "demo"


@pytest.fixture(scope="module")
def lab(folder: Path) -> Lab:
    return Lab(Settings.read(TINY), out=folder)


def test_every_study_runs_through_and_says_nothing_on_two_tasks(lab: Lab, tmp_path: Path) -> None:
    for name in studies.STUDIES:
        result, figures = studies.run_study(name, lab)
        assert result.claims and result.tables and result.made_of and result.tasks, name
        assert {claim.verdict for claim in result.claims if claim.drawn == "tasks"} <= {OPEN}, name
        assert all(table.rows or "Association" in table.title for table in result.tables), name
        assert {file: type(figure) for file, figure in figures.items()} == dict.fromkeys(result.figures, go.Figure)
        assert Result.load(result.save(tmp_path / "result.json")) == result


class Unloaded(Lab):
    """A lab whose model must not be needed."""

    @cached_property
    def model(self) -> LensModel:
        raise AssertionError("something was measured again")


def test_stored_results_are_not_measured_again(lab: Lab, folder: Path) -> None:
    for name in studies.STUDIES:
        first, _ = studies.run_study(name, lab)  # at no cost where the study ran above
        assert studies.run_study(name, Unloaded(Settings.read(TINY), out=folder))[0] == first, name


def test_a_changed_number_makes_its_own_record_anew_and_no_other(lab: Lab, folder: Path) -> None:
    measurements.transfer(lab)
    settings = lab.settings.replace(transfer=lab.settings.transfer.replace(n_draws=2))
    other = Unloaded(settings, out=folder)
    assert measurements.fits(other).fits == measurements.fits(lab).fits
    with pytest.raises(AssertionError, match="measured again"):
        measurements.transfer(other)


def test_a_changed_fit_makes_everything_anew(lab: Lab, folder: Path) -> None:
    shared = lab.settings.shared
    settings = lab.settings.replace(shared=shared.replace(site=shared.site.replace(n_steps=6)))
    for measure in (measurements.fits, measurements.seeds):
        measure(lab)
        with pytest.raises(AssertionError, match="measured again"):
            measure(Unloaded(settings, out=folder / "nowhere"))


def test_every_file_is_a_study_that_is_run() -> None:
    assert tuple(sorted(path.stem for path in ANALYSIS.glob("[0-9][0-9]_*.py"))) == studies.STUDIES


def test_kin_are_known_families_only() -> None:
    same, different = measurements.kinship(("a", "a", "b", None))
    assert np.argwhere(same == 1).tolist() == [[0, 1], [1, 0]]
    assert np.argwhere(different == 1).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]


def test_a_task_left_out_is_gone_as_source_and_as_target() -> None:
    rates = np.arange(25).reshape(5, 5) / 25
    matrix = fake_transfer("abcde", rates={"alphas": rates})
    left = measurements.without(matrix, "c")
    assert left.tasks == ("a", "b", "d", "e")
    kept = [0, 1, 3, 4]
    assert np.array_equal(left.accuracies("alphas"), matrix.accuracies("alphas")[np.ix_(kept, kept)])


def test_the_numbers_of_the_repository_are_valid_and_publish_the_papers_settings() -> None:
    site = Settings.read().shared.site
    assert site == sl.SiteConfig.paper(n_prompts=50, n_shots=10)
