"""Sweep commands: a dry run, the real one, and what the store is asked afterwards."""

import json
from pathlib import Path

import pytest

import site_lens as sl
from tests.cli.test_cli import Printed, mistake, run

STUDY = """
models = "demo"
seeds = 2
tasks = {source = "demo", names = ["antonym"]}
evaluation = {n_shots = 3, max_queries = 6}
[[configs]]
name = "few"
n_steps = 5
n_prompts = 4
n_shots = 3
n_valid = 6
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep: the file, and the store beside it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "study.toml").write_text(STUDY)
    assert run("sweep", "run", str(folder / "study.toml"), "--out", str(folder / "store"), "--device", "cpu") == 0
    return folder


def test_a_sweep_is_computed_once_and_the_name_of_0_1_still_works(swept: Path, capsys: Printed) -> None:
    arguments = [str(swept / "study.toml"), "--out", str(swept / "store")]
    assert run("sweep", "run", *arguments, "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["jobs"], counts["found"], counts["computed"], counts["failed"]) == (2, 2, 0, 0)
    assert run("sweep", *arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 jobs, 2 found, 0 computed")
    assert "is now `site-lens sweep run FILE`" in captured.err
    assert run("runs", "verify", str(swept / "store")) == 0
    assert "is now `site-lens sweep`" in capsys.readouterr().err


def test_a_dry_run_computes_nothing(swept: Path, tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "more.toml").write_text(STUDY.replace("seeds = 2", "seeds = 3"))
    arguments = ["sweep", "run", str(tmp_path / "more.toml"), "--dry-run", "--json", "--out"]
    assert run(*arguments, str(swept / "store")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(cost["n_jobs"], cost["n_stored"]) for cost in printed["cost"]] == [(3, 2)]
    assert [job["seed"] for job in printed["missing"]] == [2]
    assert printed["cost"][0]["seconds"] > 0
    assert run(*arguments, str(tmp_path / "store")) == 0
    assert json.loads(capsys.readouterr().out)["cost"][0]["seconds"] is None  # nothing like it was timed
    assert not (tmp_path / "store").exists()


def test_the_store_is_listed_shown_verified_cleaned_and_exported(swept: Path, tmp_path: Path, capsys: Printed) -> None:
    store = str(swept / "store")
    assert run("sweep", "list", store, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["seed"], row["state"]) for row in rows] == [("antonym", s, "stored") for s in (0, 1)]
    folder = tmp_path / "runs" / "demo" / "paper" / "few"

    def printed(command: str, *arguments: str) -> str:
        assert run("sweep", command, store, *arguments) == 0
        return capsys.readouterr().out

    assert "2 stored" in printed("list")
    assert printed("show").startswith("2 jobs: 2 stored\n")
    of_job = printed("show", rows[1]["key"][:8])
    assert "antonym#1" in of_job and "antonym#0" not in of_job
    assert printed("gc") == "0 removed\n"
    assert printed("export", str(folder.parents[2])) == f"{folder}\n"
    assert set(sl.Run.load(folder).fits) == {"antonym#0", "antonym#1"}
    assert run("report", str(folder)) == 0


def test_a_failed_job_ends_with_exit_code_1_and_its_traceback_is_shown(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("n_shots = 3\nn_valid", "n_shots = 300\nn_valid"))
    store = str(tmp_path / "store")
    assert run("sweep", "run", str(tmp_path / "study.toml"), "--out", store, "--device", "cpu") == 1
    assert "300" in capsys.readouterr().err
    assert run("sweep", "list", store, "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["state"] == "failed"
    assert run("sweep", "show", store, row["key"][:12]) == 0
    assert "Traceback" in capsys.readouterr().out


def test_a_mistake_ends_with_exit_code_2_and_one_line(swept: Path, tmp_path: Path, capsys: Printed) -> None:
    store, study = str(swept / "store"), str(swept / "study.toml")
    for message, arguments in {
        "cannot read the sweep file nowhere.toml": ["run", "nowhere.toml"],
        "nowhere is no run store": ["list", "nowhere"],
        "unknown key 'abc123'": ["show", store, "abc123"],
        "unknown sweep 'other'": ["list", store, "--sweep", "other"],
        "cannot submit to slurm": ["run", study, "--engine", "slurm", "--out", str(tmp_path)],
        "need --engine ray": ["run", study, "--gpus-per-job", "0"],
    }.items():
        assert message in mistake(capsys, "sweep", *arguments)
