from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, ScoresByTask
from site_lens.methods.evaluation import RESULT_COLUMNS, Evaluations
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.records.errors import InputError, StorageError
from site_lens.report.report import write_report
from site_lens.runs.run import Run
from site_lens.runs.run_folder import write_results
from site_lens.site.fit import SiteConfig, SiteFits
from tests.fakes import fake_evaluation, fake_fits, fake_identity

MODEL = fake_identity(grid=HeadGrid.full(2, 2))


def run_of(*tasks: str, controlled: bool = True, evaluated: bool = True) -> Run:
    control = fake_fits(tasks, model=MODEL, config=SiteConfig(embedding="zero"))
    return Run(
        fits=fake_fits(tasks, model=MODEL),
        controls={ZERO_EMBEDDING: control} if controlled else {},
        evaluations=Evaluations(fake_evaluation(task, model=MODEL) for task in tasks) if evaluated else None,
    )


def scored(run: Run, *selectors: str) -> Run:
    """Give a run scores of each of its tasks by some selectors."""
    own = {n: ScoresByTask(HeadGates.constant(MODEL.grid, 0.5, task=t) for t in run.fits) for n in selectors}
    return replace(run, scores=own)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("controlled", [True, False])
@pytest.mark.parametrize("evaluated", [True, False])
def test_a_run_comes_back_as_it_was_saved(tmp_path: Path, controlled: bool, evaluated: bool) -> None:
    run = run_of("antonym", "synonym", controlled=controlled, evaluated=evaluated)
    assert run.save(tmp_path / "demo") == tmp_path / "demo"
    assert Run.load(tmp_path / "demo") == run
    assert Run.load(str(tmp_path / "demo")) == run


def test_every_record_has_a_pair_of_files_in_a_folder_that_says_what_it_is(tmp_path: Path) -> None:
    run_of("antonym").save(tmp_path)
    pairs = ("fits/antonym", f"controls/{ZERO_EMBEDDING}/antonym", "evaluations/antonym")
    assert files_below(tmp_path) == {"results.csv", "written.sha256"} | {
        f"{pair}.{end}" for pair in pairs for end in ("json", "safetensors")
    }


def test_the_csv_holds_the_results(tmp_path: Path) -> None:
    run = run_of("antonym", "synonym")
    assert run.evaluations is not None
    path = write_results(run.evaluations, tmp_path)
    assert path == tmp_path / "results.csv"
    assert path.read_text().splitlines()[0] == ",".join(RESULT_COLUMNS)
    pd.testing.assert_frame_equal(pd.read_csv(path), run.evaluations.results(), check_dtype=False)


def test_saving_a_run_replaces_the_one_that_is_there_and_leaves_other_files_alone(tmp_path: Path) -> None:
    run_of("antonym", "synonym").save(tmp_path)
    write_report(Run.load(tmp_path), tmp_path / "report.html")
    (tmp_path / "fits" / "notes.txt").write_text("{}")
    (tmp_path / "mine.txt").write_text("kept")
    run_of("synonym", "capitalize", evaluated=False).save(tmp_path)
    assert not files_below(tmp_path) & {"results.csv", "report.html", "fits/antonym.json", "evaluations/synonym.json"}
    assert {"mine.txt", "fits/notes.txt", "fits/capitalize.json"} <= files_below(tmp_path)


def test_a_part_may_be_added_to_a_saved_run(tmp_path: Path) -> None:
    run_of("antonym").save(tmp_path)
    run_of("synonym").add_to(tmp_path)
    assert set(Run.load(tmp_path).fits) == {"antonym", "synonym"}


def test_runs_of_different_tasks_join_into_one() -> None:
    joined = Run.join([run_of("antonym"), run_of("synonym")])
    assert joined == run_of("antonym", "synonym")


def test_runs_join_where_only_some_have_controls_or_evaluations() -> None:
    joined = Run.join([run_of("antonym"), run_of("synonym", controlled=False, evaluated=False)])
    assert list(joined.fits) == ["antonym", "synonym"]
    assert list(joined.controls[ZERO_EMBEDDING]) == ["antonym"]
    assert joined.evaluations is not None
    assert list(joined.evaluations) == ["antonym"]
    assert Run.join([run_of("antonym", evaluated=False)]).evaluations is None


def test_runs_of_the_same_task_do_not_join() -> None:
    with pytest.raises(InputError, match="two fits of task 'antonym' with seed 0"):
        Run.join([run_of("antonym"), run_of("antonym")])


def test_a_folder_without_a_run_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            StorageError, match=rf"{folder} holds no run \(no folder .*fits\); make one with: site-lens fit"
        ):
            Run.load(folder)


def test_what_was_finished_before_an_interruption_is_loadable(tmp_path: Path) -> None:
    SiteFits(run_of("antonym").fits.values()).save(tmp_path / "fits")
    assert Run.load(tmp_path) == run_of("antonym", controlled=False, evaluated=False)


def test_a_damaged_record_of_a_run_is_named(tmp_path: Path) -> None:
    run_of("antonym").save(tmp_path)
    path = tmp_path / "evaluations" / "antonym.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StorageError, match=r"evaluations/antonym\.json is truncated or not JSON"):
        Run.load(tmp_path)


def test_files_of_others_in_the_folder_of_a_run_do_not_matter(tmp_path: Path) -> None:
    run_of("antonym").save(tmp_path)
    for place in (".", "fits", "controls"):
        (tmp_path / place / ".DS_Store").write_bytes(b"\0")
        (tmp_path / place / "notes.txt").write_text("mine")
    assert Run.load(tmp_path) == run_of("antonym")


def test_a_run_that_cannot_be_written_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=f"cannot write to {tmp_path}/file: .*choose another output folder"):
        run_of("antonym").save(tmp_path / "file")
    assert files_below(tmp_path) == {"file"}


@pytest.mark.parametrize("name", ["../x", "a/b", "", "<script>", "x" * 300])
def test_a_control_whose_name_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a folder; use letters, digits, - and _"):
        Run(fits=SiteFits([]), controls={name: SiteFits([])})


def test_scores_of_selectors_come_back_from_a_folder_each(tmp_path: Path) -> None:
    run = scored(run_of("antonym", "synonym"), "site", "indirect_effect")
    run.save(tmp_path)
    assert {"scores/site/antonym.json", "scores/indirect_effect/synonym.safetensors"} <= files_below(tmp_path)
    assert Run.load(tmp_path) == run


def test_scores_of_an_earlier_run_do_not_stay_behind(tmp_path: Path) -> None:
    scored(run_of("antonym"), "site", "random").save(tmp_path)
    scored(run_of("antonym"), "site").save(tmp_path)
    assert set(Run.load(tmp_path).scores) == {"site"}
    assert not (tmp_path / "scores" / "random").exists()


def test_scores_of_a_part_join_those_that_are_there(tmp_path: Path) -> None:
    scored(run_of("antonym"), "site").save(tmp_path)
    scored(run_of("synonym"), "site", "random").add_to(tmp_path)
    assert {name: set(own) for name, own in Run.load(tmp_path).scores.items()} == {
        "site": {"antonym", "synonym"},
        "random": {"synonym"},
    }


def test_scores_of_joined_runs_stand_together() -> None:
    parts = [scored(run_of("antonym"), "site"), scored(run_of("synonym"), "site", "random"), run_of("plural")]
    joined = Run.join(parts).scores
    assert {name: list(own) for name, own in joined.items()} == {"site": ["antonym", "synonym"], "random": ["synonym"]}


def test_scores_under_a_name_that_is_no_folder_or_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match=r"selector 'a/b' cannot name a folder; use letters, digits, - and _"):
        Run(fits=SiteFits([]), scores={"a/b": ScoresByTask([])})
    with pytest.raises(InputError, match="ScoresByTask"):
        Run(fits=SiteFits([]), scores={"site": SiteFits([])})  # type: ignore[dict-item]
