"""Every study runs through; nothing is measured twice; pages say what was found and nothing else."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import plotly.graph_objects as go
import pytest

import site_lens as sl
from analysis import measurements, result_pages, studies
from analysis.claims import over_queries, over_tasks
from analysis.lab import Lab
from analysis.pages import END, START
from analysis.results import Part, Result, Table
from analysis.settings import STUDIES_TOML, Settings
from site_lens.models import base
from tests.fakes import fake_transfer

ANALYSIS = STUDIES_TOML.parent
TINY = Path(__file__).with_name("tiny.toml")
OPEN = "not testable at this size"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all studies of this module keep what they make, named as the command names it."""
    return tmp_path_factory.mktemp("studies") / "demo"


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    """A lab with the defaults of large models: paths of fewer prices, starts and steps."""
    with patch.object(base, "LARGE", 0):
        yield Lab(Settings.read(TINY), out=folder)


@pytest.mark.slow  # all studies, on two tasks
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
    def model(self) -> sl.LensModel:
        raise AssertionError("something was measured again")


@pytest.mark.slow
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


def planted_result(study: str = "01_single_task") -> Result:
    return Result(
        study=study,
        question="Is it so?",
        reported="It is.",
        model="demo",
        tasks=("a",),
        claims=(
            over_queries("It is above", sl.Interval(0.1, 0.05, 0.2, 200), above=0, p_value=0.01, reported="10 points"),
            over_queries("It is so", sl.Interval(0.1, 0.05, 0.2, 200), above=0, p_value=0.01),
            over_tasks("It is so of all", [0.1, 0.2], n_queries=100, above=0, reported="yes"),
        ),
        tables=(Table(title="Numbers:", columns=("task", "value"), rows=(("a", 0.25), ("Q: x\nA: | y", None))),),
        figures={"01_single_task-big": "Big.", "01_single_task-small": "Small."},
        made_of=(Part(path="fits", seconds=90.0, measured="Measured here."),),
    )


def test_pages_are_made_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures, docs, readme = tmp_path / "figures", tmp_path / "docs", tmp_path / "README.md"
    figures.mkdir()
    (figures / "01_single_task-big.svg").write_text("x" * 200)
    (figures / "01_single_task-small.svg").write_text("x" * 80)
    readme.write_text(f"before\n{START}\n{END}\nafter")
    monkeypatch.setattr(result_pages, "MOST_BYTES", 100)
    unrun = Result(study="02_other", question="And this?", reported="So it is.", model="demo")
    result_pages.write_pages([planted_result(), unrun], figures, docs, readme)
    page = (docs / "README.md").read_text(encoding="utf-8")
    assert page.count("This says nothing about large models") == 1
    assert "| It is above | 10 points | > 0 | 0.100 | 0.050 to 0.200 | queries | 200 | 1 | **seen here, too** |" in page
    assert "**holds**" in page
    assert "| Q: x\\nA: \\| y |  |" in page  # a cell is one line
    assert "not testable at this size: 2 tasks, 6 needed" in page
    assert [path.name for path in docs.glob("*.svg")] == ["01_single_task-small.svg"]
    assert "![Small.](01_single_task-small.svg)" in page and "big.svg" not in page
    assert re.findall(r"\]\(#(.*?)\)", page) == ["01-is-it-so", "02-and-this"]
    assert "`analysis/02_other.py`, not run yet. So it is." in page
    table = readme.read_text(encoding="utf-8")
    assert "| It is above: 0.100 [0.050, 0.200], seen here, too |" in table
    assert "| 1 seen here, too, 1 holds, 1 not testable at this size | 1.5 |" in table
    assert "| `02_other.py` | And this? | So it is. | not run yet |  |  |" in table
    assert table.startswith("before") and table.endswith("after")


def test_the_page_of_a_real_model_stands_beside_that_of_the_demo_model(tmp_path: Path) -> None:
    (tmp_path / "01_single_task-small.svg").write_text("x" * 80)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "01_single_task-small.svg").write_text("of the demo model")
    result_pages.write_smollm2_page([planted_result()], tmp_path, docs)
    page = (docs / "smollm2.md").read_text(encoding="utf-8")
    assert "somebody else trained" in page and "![Small.](smollm2-01_single_task-small.svg)" in page
    assert (docs / "01_single_task-small.svg").read_text() == "of the demo model"


def test_a_figure_that_is_not_drawn_again_stays_on_the_page(tmp_path: Path) -> None:
    docs, none = tmp_path / "docs", tmp_path / "none"
    docs.mkdir()
    (docs / "smollm2-01_single_task-small.svg").write_text("drawn before")
    (docs / "smollm2-01_single_task-gone.svg").write_text("of no result")
    result_pages.write_smollm2_page([planted_result()], none, docs)
    assert [(path.name, path.read_text()) for path in docs.glob("*.svg")] == [
        ("smollm2-01_single_task-small.svg", "drawn before")
    ]
    assert "![Small.](smollm2-01_single_task-small.svg)" in (docs / "smollm2.md").read_text(encoding="utf-8")


def test_pages_are_written_of_no_model_whose_page_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        studies.main(["--model", "x", "--tasks", "demo", "--pages"])
    assert "--pages" in capsys.readouterr().err


def test_a_verdict_that_was_written_by_hand_is_refused(tmp_path: Path) -> None:
    path = planted_result().save(tmp_path / "result.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"holds"', '"does not hold"'), encoding="utf-8")
    with pytest.raises(sl.StorageError, match="It is so"):
        Result.load(path)
