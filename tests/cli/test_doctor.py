"""How the command line loads models: every command that needs one takes the same options."""

import inspect
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.cli import app, main
from site_lens.cli.options import ModelSource
from tests.tiny_models import save_tiny

WITH_MODEL = (
    "fit", "evaluate", "methods", "selectors", "transfer", "faithfulness", "sensitivity", "landscape", "profile",
    "ablate", "combine", "doctor",
)  # fmt: skip
FAST = ["--n-steps", "2", "--n-prompts", "2", "--n-shots", "1", "--n-eval-shots", "1", "--max-queries", "4"]


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_command_that_needs_a_model_takes_every_option_of_its_loading(name: str) -> None:
    command = next(one.callback for one in app.registered_commands if one.callback and one.callback.__name__ == name)
    parameters = inspect.signature(command).parameters
    assert set(inspect.signature(ModelSource).parameters) <= set(parameters)
    assert "source" not in parameters


def test_options_arrive_at_the_loading_of_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> None:
        asked.update(options, name=name)
        raise sl.InputError("far enough")

    monkeypatch.setattr(sl, "load_model", load, raising=False)
    options = ["--dtype", "bfloat16", "--device-map", "auto", "--quantization", "nf4", "--revision", "v1"]
    assert run("doctor", "my/model", *options) == 2
    assert "far enough" in capsys.readouterr().err
    assert asked == {
        "name": "my/model", "dtype": "bfloat16", "device": None, "device_map": "auto", "quantization": "nf4",
        "revision": "v1", "trust_remote_code": False, "check": False,
    }  # fmt: skip


def test_examples_are_rendered_as_chats_and_the_run_remembers_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny("Qwen3-8B", tmp_path / "model", n_ctx=512)
    out = tmp_path / "run"
    assert run("fit", "demo", "-t", "antonym", "-m", str(folder), "--out", str(out), "--chat", *FAST) == 0
    (fit,) = sl.Run.load(out).fits.values()
    assert fit.template == sl.chat_template(sl.load_model(folder, device="cpu"))
    assert run("evaluate", str(out), "demo", "-m", str(folder), "--max-queries", "4", "--n-shots", "1") == 0
    assert sl.Run.load(out).evaluations["antonym"].template == fit.template  # type: ignore[index]
    capsys.readouterr()


def test_a_model_without_a_chat_template_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "demo", "-t", "antonym", "--out", str(tmp_path / "run"), "--chat", *FAST) == 2
    assert capsys.readouterr().err.startswith("error: this ")


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_the_support_card_of_a_quantised_model_says_so(
    tiny_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tiny_folder("Llama-3.1-8B"))
    assert run("doctor", folder, "--quantization", "nf4", "--longest", "100", "--device", "cpu", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["quantization"] == "nf4"


@pytest.mark.parametrize("kind", ["falcon-40b", "gpt_neox without biases"])
def test_what_transformer_lens_raises_is_one_line_with_architecture_and_reason(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = str(save_tiny(kind, tmp_path / "model"))
    capfd.readouterr()
    for command in (["doctor", folder], ["fit", "demo", "-t", "antonym", "-m", folder, "--out", str(tmp_path / "run")]):
        assert run(*command) == 2
        printed, said = capfd.readouterr()
        assert not printed
        (line,) = said.splitlines()
        assert line.startswith("error: ")
        assert "ForCausalLM" in line
