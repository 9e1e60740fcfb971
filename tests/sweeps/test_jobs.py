"""Keys say what a result was computed from; groups share a batch."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import code_version
from site_lens.sweeps import jobs as jobs_module
from site_lens.sweeps.fingerprints import folder_digest
from site_lens.sweeps.jobs import JobGroup, group_jobs, jobs_of
from tests.sweeps.faulty import CONFIG, small_sweep, write_tasks
from tests.test_public_names import PACKAGE


def keys(sweep: sl.Sweep) -> list[str]:
    return [job.key for job in jobs_of(sweep)]


def test_every_combination_is_a_job_with_a_key_of_its_own(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 3, n_seeds=2, models=("nobody/a", "nobody/b")).replace(
        configs=[CONFIG, CONFIG | {"name": "other", "lr": 0.1}],
        templates=[{"name": "paper"}, {"name": "arrow", "output_prefix": "->"}],
    )
    found = jobs_of(sweep)
    assert len(found) == len({job.key for job in found}) == 2 * 2 * 2 * 3 * 2
    assert len({str(job.name) for job in found}) == len(found)
    assert keys(sweep) == keys(sweep)


def test_names_and_batching_change_no_key(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 2)
    renamed = sweep.replace(
        name="other",
        tasks_at_once=1,
        slurm={"timeout_min": 5},
        models=[{"name": "nobody/a", "label": "elsewhere"}],
        configs=[CONFIG | {"name": "called_otherwise"}],
        templates=[{"name": "called_otherwise"}],
    )
    assert keys(renamed) == keys(sweep)
    moved = small_sweep(tmp_path / "elsewhere", 2)
    assert keys(moved) == keys(sweep)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": ["nobody/b"]},
        {"models": [{"name": "nobody/a", "revision": "v2"}]},
        {"models": [{"name": "nobody/a", "dtype": "bfloat16"}]},
        {"models": [{"name": "nobody/a", "bos": True}]},
        {"configs": [CONFIG | {"lr": 0.1}]},
        {"templates": [{"name": "paper", "output_prefix": "Answer:"}]},
        {"seeds": [1]},
        {"controls": []},
        {"evaluation": {"n_shots": 3}},
        {"evaluation": {"generated": True}},
    ],
)
def test_what_changes_a_result_changes_its_key(tmp_path: Path, changes: dict[str, Any]) -> None:
    sweep = small_sweep(tmp_path, 1)
    assert not set(keys(sweep)) & set(keys(sweep.replace(**changes)))


def test_other_rows_and_another_version_change_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = small_sweep(tmp_path, 2)
    before = keys(sweep)
    with (tmp_path / "tasks" / "task_0.csv").open("a") as stream:
        stream.write("one more,row\n")
    after = keys(sweep)
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]
    monkeypatch.setattr(jobs_module, "code_version", lambda: "another commit")
    assert not set(keys(sweep)) & set(after)


def test_every_commit_of_the_code_that_measures_has_a_name_of_its_own(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "site_lens", ignore=shutil.ignore_patterns("__pycache__", "demo"))
    assert code_version(copy) == code_version()
    for file, changes in (("cli/commands.py", False), ("site/optimizer.py", True), ("site/fit.py", True)):
        before = code_version.__wrapped__(copy)
        with (copy / file).open("a") as stream:
            stream.write("# changed\n")
        assert (code_version.__wrapped__(copy) != before) is changes, file


def test_files_that_an_operating_system_puts_into_a_model_folder_are_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = folder_digest(tmp_path)
    (tmp_path / "._config.json").write_bytes(b"\0\5\x16\7")
    assert folder_digest(tmp_path) == before


def test_a_model_folder_stands_for_its_content(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    weights = stream.bytes(3 * 2**20)
    for name in ("first", "copy", "trained"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    (tmp_path / "copy" / "notes.md").write_text("mine")
    assert folder_digest(tmp_path / "first") == folder_digest(tmp_path / "copy")
    edited = bytearray(weights)
    edited[1_234_567] ^= 1
    (tmp_path / "trained" / "model.safetensors").write_bytes(edited)
    assert folder_digest(tmp_path / "first") != folder_digest(tmp_path / "trained")
    (tmp_path / "copy" / "config.json").write_text('{"bos_token_id": 1}')
    assert folder_digest(tmp_path / "first") != folder_digest(tmp_path / "copy")


def test_a_model_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    twins = [{"name": "nobody/a", "label": "one"}, {"name": "nobody/a", "label": "two", "device_map": "auto"}]
    sweep = small_sweep(tmp_path, 1).replace(models=twins)
    with pytest.raises(sl.InputError, match="the models 'one' and 'two' are the same"):
        jobs_of(sweep)


def test_folders_and_dead_links_in_a_model_folder_are_no_part_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()  # no file of a model
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    before = folder_digest(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert folder_digest(tmp_path) != before


def test_groups_hold_each_job_once_and_share_all_but_task_and_seed(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 5, n_seeds=2, models=("nobody/a", "nobody/b"))
    found = jobs_of(sweep)
    groups = list(group_jobs(found, tasks_at_once=2))
    assert sorted(key for group in groups for key in group.keys) == sorted(job.key for job in found)
    assert [(group.model.label, len(group.tasks), group.seeds) for group in groups] == [
        (label, n, (0, 1)) for label in ("a", "b") for n in (2, 2, 1)
    ]


def test_only_the_seeds_that_a_task_lacks_are_asked_for(tmp_path: Path) -> None:
    found = [job for job in jobs_of(small_sweep(tmp_path, 3, n_seeds=2)) if (job.task.name, job.seed) != ("task_1", 0)]
    groups = list(group_jobs(found, tasks_at_once=16))
    assert [([task.name for task in group.tasks], group.seeds) for group in groups] == [
        (["task_0", "task_2"], (0, 1)),
        (["task_1"], (1,)),
    ]


def test_halving_ends_at_single_jobs_and_loses_none(tmp_path: Path) -> None:
    whole = JobGroup.of(jobs_of(small_sweep(tmp_path, 3, n_seeds=3)))
    waiting, single = [whole], []
    while waiting:
        group = waiting.pop()
        parts = group.halves()
        if len(parts) == 1:
            single.append(group)
        else:
            assert all(len(part.jobs) == len(part.tasks) * len(part.seeds) for part in parts)
            waiting += parts
    assert all(len(group.jobs) == 1 for group in single)
    assert sorted(group.keys[0] for group in single) == sorted(whole.keys)


def test_two_sources_with_a_task_of_the_same_name_are_refused(tmp_path: Path) -> None:
    paths = [str(write_tasks(tmp_path / name, 1)) for name in ("one", "two")]
    with pytest.raises(sl.InputError, match="two sources hold a task called 'task_0'"):
        jobs_of(sl.Sweep(models=["nobody/a"], tasks=paths))
