"""Commands on a run find its own model and tasks again, and compare its tasks by name."""

from dataclasses import replace
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.cli.options import ModelOfRun, ModelSource, TaskFiles, TaskFilesOfRun, inputs_of
from site_lens.records.errors import InputError, StorageError
from tests.cli.test_cli import mistake, run
from tests.fakes import fake_fits


def save_run(folder: Path, inputs: sl.RunInputs | None = None) -> sl.Run:
    saved = sl.Run(fake_fits(["antonym", "synonym"]), inputs=inputs)
    saved.save(folder)
    return sl.Run.load(folder)


def test_a_run_finds_its_model_and_tasks_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("pairs.csv").write_text("a,b\n")
    files = TaskFiles(tasks=["pairs.csv", "demo"], input_column="a", output_column="b")
    inputs = inputs_of(files, ModelSource(model="model", dtype="bfloat16", trust_remote_code=True))
    saved = save_run(tmp_path / "run", inputs)
    assert saved.inputs == inputs
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = TaskFilesOfRun().of(tmp_path / "run", saved.inputs)
    assert (found.tasks, found.input_column) == ([str(tmp_path / "pairs.csv"), "demo"], "a")
    model = ModelOfRun(device="cpu").of(tmp_path / "run", saved)
    assert (model.model, model.dtype, model.device) == (str(tmp_path / "model"), "bfloat16", "cpu")
    assert not model.trust_remote_code  # a run of somebody else does not decide that
    (tmp_path / "model").rmdir()
    with pytest.raises(InputError, match="is gone"):
        ModelOfRun().of(tmp_path / "run", saved)
    assert ModelOfRun(model="demo").of(tmp_path / "run", saved) == ModelSource(model="demo")


def test_a_run_that_does_not_know_asks_and_never_takes_another_model(tmp_path: Path) -> None:
    saved = save_run(tmp_path)
    with pytest.raises(InputError):
        TaskFilesOfRun().of(tmp_path, saved.inputs)
    fit = next(iter(saved.fits.values()))
    other = fit.replace(embedding=fit.embedding.replace(model=fit.embedding.model.replace(name="/models/large")))
    with pytest.raises(InputError, match="--model"):
        ModelOfRun().of(tmp_path, replace(saved, fits=sl.SiteFits([other])))
    assert other.embedding.model.short_name == "large"


def test_damaged_inputs_are_an_error_and_go_with_the_run(tmp_path: Path) -> None:
    save_run(tmp_path, sl.RunInputs(tasks=("demo",), model="demo"))
    save_run(tmp_path)  # made in Python, which names no inputs
    assert not (tmp_path / "inputs.json").exists()
    (tmp_path / "inputs.json").write_text('{"kind": "run_inputs", "record_schema": 1, "fields": {"model": 1}}')
    with pytest.raises(StorageError):
        sl.Run.load(tmp_path)


def test_tasks_are_named_with_commas_and_from_several_files(tmp_path: Path) -> None:
    assert list(TaskFiles(tasks=["demo"]).load(["synonym,antonym", "antonym"])) == ["synonym", "antonym"]
    (tmp_path / "again").mkdir()
    one, two, again = (str(tmp_path / f"{name}.csv") for name in ("one", "two", "again/one"))
    for path in (one, two, again):
        Path(path).write_text("input,output\n" + "".join(f"{path}{i},{i}\n" for i in range(12)))
    assert list(TaskFiles(tasks=[one, two]).load()) == ["one", "two"]
    with pytest.raises(InputError):
        TaskFiles(tasks=[one, again]).load()


def test_tasks_of_a_run_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = save_run(tmp_path)
    overlap = sl.head_overlap(dict(saved.fits))
    assert run("compare", str(tmp_path), "antonym,synonym") == 0
    assert capsys.readouterr().out.splitlines()[-1] == overlap.sentence("antonym", "synonym")
    assert "'antonym'" in mistake(capsys, "compare", str(tmp_path), "antonyms", "synonym")
    mistake(capsys, "compare", str(tmp_path), "antonym")


def test_a_prompt_is_shown_as_the_model_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "show", "--task", "antonym", "--n-shots", "2") == 0
    shown = [line[4:] for line in capsys.readouterr().out.splitlines() if line.startswith("  | ")]
    assert len([line for line in shown if line.startswith("Q: ")]) == 3 and shown[-1] == "A:"
