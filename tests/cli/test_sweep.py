"""Sweeps from the command line: a dry run, the real one, and what can be asked of the store."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from tests.cli.test_cli import run

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
    assert run("sweep", str(folder / "study.toml"), "--out", str(folder / "store"), "--device", "cpu") == 0
    return folder


def test_a_sweep_says_what_it_did_and_does_it_once(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", str(swept / "study.toml"), "--out", str(swept / "store")]
    assert run(*arguments, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["jobs"], said["found"], said["computed"], said["failed"]) == (2, 2, 0, 0)
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 jobs, 2 found, 0 computed")
    assert captured.err == ""


def test_a_dry_run_computes_nothing(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.toml").write_text(STUDY.replace("seeds = 2", "seeds = 3"))
    assert run("sweep", str(tmp_path / "more.toml"), "--out", str(swept / "store"), "--dry-run", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["n_jobs"], one["n_stored"]) for one in said["cost"]] == [(3, 2)]
    assert [one["seed"] for one in said["missing"]] == [2]
    assert said["cost"][0]["seconds"] > 0
    assert run("sweep", str(tmp_path / "more.toml"), "--out", str(tmp_path / "store"), "--dry-run") == 0
    assert "not timed yet" in capsys.readouterr().out
    assert not (tmp_path / "store").exists()


def test_the_store_is_listed_shown_verified_and_cleared(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(swept / "store")
    assert run("runs", "list", store, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["seed"], row["state"]) for row in rows] == [("antonym", s, "stored") for s in (0, 1)]
    assert run("runs", "list", store) == 0
    assert "2 stored" in capsys.readouterr().out
    assert run("runs", "show", store) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 jobs: 2 stored\n")
    assert "job_stored" in shown and "sweep_ended" in shown
    assert run("runs", "show", store, rows[1]["key"][:8]) == 0
    shown = capsys.readouterr().out
    assert "antonym#1" in shown and "antonym#0" not in shown
    assert run("runs", "verify", store) == 0
    assert capsys.readouterr().out == "2 results, 0 damaged\n"
    assert run("runs", "gc", store) == 0
    assert capsys.readouterr().out == "0 removed\n"


def test_an_exported_sweep_is_a_run_like_any_other(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("runs", "export", str(swept / "store"), str(tmp_path / "runs")) == 0
    folder = tmp_path / "runs" / "demo" / "paper" / "few"
    assert capsys.readouterr().out == f"{folder}\n"
    assert set(sl.Run.load(folder).fits) == {"antonym#0", "antonym#1"}
    assert run("report", str(folder)) == 0


def test_an_export_says_which_jobs_it_lacks_and_stops_at_damage(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree, rmtree

    store = copytree(swept / "store", tmp_path / "store")
    first, second = sorted((store / "results").iterdir())
    rmtree(first)
    assert run("runs", "export", str(store), str(tmp_path / "runs")) == 0
    assert capsys.readouterr().err == "1 of 2 jobs left out: 1 missing\n"
    (second / "results.csv").write_text("cut short")
    assert run("runs", "export", str(store), str(tmp_path / "more")) == 2
    assert "is damaged: " in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_damage_ends_with_exit_code_1_and_is_repaired(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    store = copytree(swept / "store", tmp_path / "store")
    path = sorted(store.rglob("fits/*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run("runs", "verify", str(store), "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["damaged"]) == 1
    assert run("runs", "gc", str(store), "--damaged") == 0
    assert run("sweep", str(swept / "study.toml"), "--out", str(store), "--device", "cpu", "--json") == 0
    assert json.loads(capsys.readouterr().out.split("1 removed\n")[1])["computed"] == 1
    assert run("runs", "verify", str(store)) == 0


def test_a_failed_job_ends_with_exit_code_1_and_its_error_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("n_shots = 3\nn_valid", "n_shots = 300\nn_valid"))
    store = str(tmp_path / "store")
    assert run("sweep", str(tmp_path / "study.toml"), "--out", store, "--device", "cpu") == 1
    assert "too few for 300-shot prompts" in capsys.readouterr().err
    assert run("runs", "list", store, "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["state"] == "failed"
    assert run("runs", "show", store, row["key"][:12]) == 0
    assert "Traceback" in capsys.readouterr().out


def test_parameters_of_slurm_that_play_no_part_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"{STUDY}\n[slurm]\ntimeout_min = 60\n")
    for engine, says in (("local", True), ("ray", True), ("slurm", False)):
        assert run("sweep", str(path), "--out", str(tmp_path / "store"), "--engine", engine, "--dry-run") == 0
        note = f"note: [slurm] in {path} plays no part with --engine {engine}\n"
        assert capsys.readouterr().err == (note if says else "")


ACTS = "\x1b]0;mine\x07\x1b[2J"


def test_nothing_that_a_job_left_behind_acts_on_the_terminal(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree, rmtree

    store = sl.RunStore(copytree(swept / "store", tmp_path / "store"))
    name, other = store.plan().jobs
    rmtree(store.result_folder(name.key))
    store.fail(name, f"Odd{ACTS}", f"no{ACTS}", f"Traceback\n  first{ACTS}\n  second\n")
    store.event_log().write("job_failed", {"key": name.key, "job": ACTS, "message": ACTS})
    (store.result_folder(other.key) / "job.json").write_text(json.dumps({"digest": ACTS, ACTS: ACTS}))
    for arguments in (["list"], ["show"], ["show", name.key[:12]], ["verify"]):
        run("runs", arguments[0], str(store.folder), *arguments[1:])
        said = capsys.readouterr()
        assert not {"\x1b", "\x07"} & set(said.out + said.err)
        if arguments == ["show", name.key[:12]]:
            assert "\nTraceback\n  first\\x1b]0;mine\\x07\\x1b[2J\n  second\n" in said.out


def test_a_job_whose_note_is_damaged_is_shown_all_the_same(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    store = sl.RunStore(copytree(swept / "store", tmp_path / "store"))
    name = store.plan().jobs[0]
    (store.folder / "failures" / f"{name.key}.json").write_text("cut short")
    assert run("runs", "show", str(store.folder), name.key[:12]) == 0
    said = capsys.readouterr().out
    assert "  stored" in said and "is truncated or not JSON" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sweep", "nowhere.toml"], "cannot read the sweep file nowhere.toml"),
        (["runs", "list", "nowhere"], "nowhere is no run store"),
        (["runs", "show", "STORE", "abc123"], "unknown key 'abc123'"),
        (["runs", "list", "STORE", "--sweep", "other"], "unknown sweep 'other'; known: study"),
        (["sweep", "STUDY", "--engine", "slurm", "--out", "OUT"], "cannot submit to slurm"),
        (["sweep", "STUDY", "--gpus-per-job", "0"], "--gpus-per-job is for Ray alone; add --engine ray"),
        (["sweep", "STUDY", "--workers-per-model", "1", "--dry-run"], "--workers-per-model is for Ray alone"),
        (["sweep", "STUDY", "--engine", "slurm", "--ray-address", "auto"], "--ray-address is for Ray alone"),
    ],
)
def test_a_mistake_ends_with_exit_code_2_and_one_line(
    swept: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"STORE": str(swept / "store"), "STUDY": str(swept / "study.toml"), "OUT": str(tmp_path / "out")}
    assert run(*(places.get(one, one) for one in arguments)) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert len(errors.splitlines()) == 1


def test_whoever_interrupts_the_start_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = builtins.__import__

    def interrupted(name: str, *rest: Any, **options: Any) -> Any:
        if name == "site_lens.cli.commands":
            raise KeyboardInterrupt
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert run("sweep", "study.toml") == 130
    assert capsys.readouterr().err == "interrupted\n"
