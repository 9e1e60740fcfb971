"""Jobs: keys change with everything that a result depends on; groups share a batch."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.records.hashing import code_version
from site_lens.sweeps import jobs as jobs_module
from site_lens.sweeps.jobs import folder_digest, jobs_of
from tests.sweeps.faulty import CONFIG, small_sweep
from tests.test_public_names import PACKAGE


def keys(sweep: sl.Sweep) -> list[str]:
    return [job.key for job in jobs_of(sweep)]


def test_every_combination_is_a_job_with_a_key_of_its_own(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 3, n_seeds=2, models=("nobody/a", "nobody/b")).replace(
        configs=[CONFIG, CONFIG | {"name": "other", "lr": 0.1}],
        templates=[{"name": "paper"}, {"name": "arrow", "output_prefix": "->"}],
    )
    jobs = jobs_of(sweep)
    assert len(jobs) == len(set(keys(sweep))) == len({str(job.name) for job in jobs}) == 2 * 2 * 2 * 3 * 2
    assert keys(sweep) == keys(sweep)


def test_names_paths_and_batching_change_no_key(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, 2)
    renamed = sweep.replace(
        name="other",
        tasks_at_once=1,
        slurm={"timeout_min": 5},
        models=[{"name": "nobody/a", "label": "elsewhere"}],
        configs=[CONFIG | {"name": "called_otherwise"}],
        templates=[{"name": "called_otherwise"}],
    )
    assert keys(renamed) == keys(small_sweep(tmp_path / "elsewhere", 2)) == keys(sweep)


def test_everything_that_changes_a_result_changes_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = small_sweep(tmp_path, 2)
    before = set(keys(sweep))
    changes: list[dict[str, Any]] = [
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
    ]
    for change in changes:
        assert not before & set(keys(sweep.replace(**change))), change
    with (tmp_path / "tasks" / "task_0.csv").open("a") as stream:
        stream.write("one more,row\n")
    assert len(before & set(keys(sweep))) == 1  # the other task
    monkeypatch.setattr(jobs_module, "code_version", lambda: "another commit")
    assert not before & set(keys(sweep))


def test_the_version_of_the_code_changes_with_what_measures_alone(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "site_lens", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    assert code_version(copy) == code_version()
    for file, changes in (("cli/commands.py", False), ("site/optimizer.py", True), ("models/loading.py", True)):
        before = code_version.__wrapped__(copy)
        with (copy / file).open("a") as stream:
            stream.write("# changed\n")
        assert (code_version.__wrapped__(copy) != before) is changes, file


def test_a_model_folder_is_known_by_its_content(tmp_path: Path) -> None:
    weights = bytes(range(256)) * 4096
    for name in ("first", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    (tmp_path / "copy" / "notes.md").write_text("mine")
    (tmp_path / "copy" / "._config.json").write_bytes(b"\0\5\x16\7")  # macOS writes such files
    (tmp_path / "copy" / "x.json").mkdir()
    (tmp_path / "copy" / "gone.json").symlink_to(tmp_path / "nowhere")
    before = folder_digest(tmp_path / "first")
    assert folder_digest(tmp_path / "copy") == before
    edited = bytearray(weights)
    edited[123_456] ^= 1
    (tmp_path / "copy" / "model.safetensors").write_bytes(edited)
    assert folder_digest(tmp_path / "copy") != before
