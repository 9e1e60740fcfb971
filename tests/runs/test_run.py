import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import site_lens as sl
from site_lens.methods.evaluation import RESULT_COLUMNS
from site_lens.methods.registry import ZERO_EMBEDDING
from tests.fakes import fake_evaluation, fake_fits, fake_identity
from tests.records.test_old_files import FOLDER
from tests.site.test_head_path import fake_path

MODEL = fake_identity(grid=sl.HeadGrid.full(2, 2))


def run_of(*tasks: str, controlled: bool = True, evaluated: bool = True) -> sl.Run:
    control = fake_fits(tasks, model=MODEL, config=sl.SiteConfig(embedding="zero"))
    return sl.Run(
        fits=fake_fits(tasks, model=MODEL),
        controls={ZERO_EMBEDDING: control} if controlled else {},
        evaluations=sl.Evaluations(fake_evaluation(task, model=MODEL) for task in tasks) if evaluated else None,
    )


def scored(run: sl.Run, *selectors: str) -> sl.Run:
    """Give a run scores of each of its tasks by some selectors."""
    own = {n: sl.ScoresByTask(sl.HeadGates.constant(MODEL.grid, 0.5, task=t) for t in run.fits) for n in selectors}
    return replace(run, scores=own)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_comes_back_as_it_was_saved_a_pair_of_files_for_each_record(tmp_path: Path) -> None:
    bare = run_of("antonym", controlled=False, evaluated=False)
    assert sl.Run.load(bare.save(tmp_path / "bare")) == bare
    run = scored(run_of("antonym"), "site")
    assert run.save(tmp_path / "one") == tmp_path / "one"
    pairs = ("fits/antonym", f"controls/{ZERO_EMBEDDING}/antonym", "evaluations/antonym", "scores/site/antonym")
    assert files_below(tmp_path / "one") == {"results.csv", "written.sha256"} | {
        f"{pair}.{end}" for pair in pairs for end in ("json", "safetensors")
    }
    for place in (".", "fits", "controls"):
        (tmp_path / "one" / place / ".DS_Store").write_bytes(b"\0")
    assert sl.Run.load(str(tmp_path / "one")) == run
    results = pd.read_csv(tmp_path / "one" / "results.csv")
    assert run.evaluations is not None and list(results) == list(RESULT_COLUMNS)
    pd.testing.assert_frame_equal(results, run.evaluations.results(), check_dtype=False)


def test_tasks_stay_in_the_order_in_which_they_were_fitted_through_saving_replacing_and_adding(tmp_path: Path) -> None:
    for tasks in (("synonym", "antonym", "plural"), ("plural", "synonym", "antonym")):
        run_of(*tasks).save(tmp_path)
        loaded = sl.Run.load(tmp_path)
        for part in (loaded.fits, loaded.evaluations, loaded.controls[ZERO_EMBEDDING]):
            assert tuple(part or ()) == tasks
    run_of("adjective").add_to(tmp_path)
    assert [*sl.Run.load(tmp_path).fits] == ["plural", "synonym", "antonym", "adjective"]
    (tmp_path / "written.sha256").unlink()
    assert [*sl.Run.load(tmp_path).fits] == ["adjective", "antonym", "plural", "synonym"]


def test_a_part_may_be_added_to_a_saved_run(tmp_path: Path) -> None:
    path = fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))
    replace(scored(run_of("antonym"), "site"), paths=sl.HeadPaths([path])).save(tmp_path)
    more = scored(run_of("synonym"), "site", "random")
    replace(more, paths=sl.HeadPaths([path.replace(task="synonym")])).add_to(tmp_path)
    run = sl.Run.load(tmp_path)
    assert set(run.fits) == {"antonym", "synonym"}
    scores = {name: set(part) for name, part in run.scores.items()}
    assert scores == {"site": {"antonym", "synonym"}, "random": {"synonym"}}
    assert set(pd.read_csv(tmp_path / "heads.csv")["task"]) == {"antonym", "synonym"}
    run_of("antonym").save(tmp_path)
    assert not (tmp_path / "heads.csv").exists() and not sl.Run.load(tmp_path).paths


def test_runs_of_different_tasks_join_into_one_whatever_parts_they_have() -> None:
    assert sl.Run.join([run_of("antonym"), run_of("synonym")]) == run_of("antonym", "synonym")
    first, bare = run_of("antonym"), scored(run_of("synonym", controlled=False, evaluated=False), "site")
    joined = sl.Run.join([first, bare])
    assert list(joined.fits) == ["antonym", "synonym"]
    assert (joined.controls, joined.evaluations, joined.scores) == (first.controls, first.evaluations, bare.scores)
    assert sl.Run.join([bare]).evaluations is None
    with pytest.raises(sl.InputError, match="two fits of task 'antonym' with seed 0"):
        sl.Run.join([first, first])


def test_a_folder_without_a_whole_run_is_refused_and_finished_parts_are_read(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(sl.StorageError, match="site-lens fit"):
            sl.Run.load(folder)
    sl.SiteFits(run_of("antonym").fits.values()).save(tmp_path / "begun" / "fits")
    assert sl.Run.load(tmp_path / "begun") == run_of("antonym", controlled=False, evaluated=False)
    path = run_of("antonym").save(tmp_path / "damaged") / "evaluations" / "antonym.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(sl.StorageError, match=r"evaluations/antonym\.json"):
        sl.Run.load(tmp_path / "damaged")


def test_a_run_of_0_1_0_is_replaced_as_a_whole_but_for_files_that_are_no_records(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER / "run", tmp_path / "run"))
    (folder / "fits" / "mine.json").write_text("{}")
    before = files_below(folder)
    with pytest.raises(sl.StorageError, match=r"mine\.json"):
        run_of("synonym").save(folder)
    assert files_below(folder) == before
    (folder / "fits" / "mine.json").unlink()
    run_of("synonym").save(folder)
    assert sl.Run.load(folder) == run_of("synonym")
