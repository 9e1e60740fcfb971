"""Loading of models by the commands, and the support card of `site-lens doctor`."""

import inspect
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import site_lens as sl
from site_lens.cli import app
from site_lens.cli.options import ModelSource
from tests.cli.test_cli import FAST, mistake, run
from tests.tiny_models import save_tiny

WITH_MODEL = (
    "fit", "evaluate", "methods", "selectors", "transfer", "faithfulness", "sensitivity", "landscape", "profile",
    "ablate", "combine", "doctor",
)  # fmt: skip


def card(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> dict[str, Any]:
    """Return the support card of a model, and check the exit code."""
    capsys.readouterr()
    assert run("doctor", *arguments, "--json") == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed["ok"] is (code == 0)
    return printed


def test_every_command_that_needs_a_model_takes_all_options_and_passes_them_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = {command.callback.__name__: command.callback for command in app.registered_commands if command.callback}
    for name in WITH_MODEL:
        parameters = inspect.signature(commands[name]).parameters
        assert set(inspect.signature(ModelSource).parameters) <= set(parameters), name
        assert not {"source", "files"} & set(parameters), name
    loaded: dict[str, Any] = {}

    def load(name: str, **options: Any) -> None:
        loaded.update(options, name=name)
        raise sl.InputError("far enough")

    monkeypatch.setattr(sl, "load_model", load, raising=False)
    options = ["--dtype", "bfloat16", "--device-map", "auto", "--quantization", "nf4", "--revision", "v1"]
    options += ["--gguf-file", "a.gguf"]
    assert "far enough" in mistake(capsys, "doctor", "my/model", *options)
    assert loaded == {
        "name": "my/model", "dtype": "bfloat16", "device": None, "device_map": "auto", "quantization": "nf4",
        "gguf_file": "a.gguf", "revision": "v1", "trust_remote_code": False, "check": False,
    }  # fmt: skip


def test_examples_are_rendered_as_chats_and_the_run_records_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny("Qwen3-8B", tmp_path / "model", n_ctx=512)
    out = tmp_path / "run"
    few = ["--n-steps", "2", "--n-prompts", "2", "--n-shots", "1", "--n-eval-shots", "1", "--max-queries", "4"]
    assert run("fit", "demo", "-t", "antonym", "-m", str(folder), "--out", str(out), "--chat", *few) == 0
    (fit,) = sl.Run.load(out).fits.values()
    assert fit.template == sl.chat_template(sl.load_model(folder, device="cpu"))
    assert run("evaluate", str(out), "demo", "-m", str(folder), "--max-queries", "4", "--n-shots", "1") == 0
    assert sl.Run.load(out).evaluations["antonym"].template == fit.template  # type: ignore[index]
    mistake(capsys, "fit", "demo", "-t", "antonym", "--out", str(tmp_path / "other"), "--chat", *FAST)


def test_the_support_card_shows_failed_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("doctor", "demo", "--longest", "100") == 0
    printed = capsys.readouterr().out
    assert "6 layers x 8 heads" in printed and "cached_equals_full" in printed
    assert {"code", "state", "value", "threshold"} <= set(card(capsys, 0, "demo", "--longest", "100")["checks"][0])

    broken = tmp_path / "llama"
    save_tiny("llama", broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.0.self_attn.v_proj.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    checks = {check["code"]: check for check in card(capsys, 1, str(broken), "--dtype", "float32")["checks"]}
    assert (checks["padding"]["state"], checks["padding"]["value"]) == ("fail", None)  # JSON has no NaN

    (check,) = card(capsys, 1, str(save_tiny("mamba", tmp_path / "mamba")))["checks"]
    assert (check["code"], check["state"]) == ("hook_z", "fail")  # no layer has attention

    monkeypatch.setattr("site_lens.models.kv_cache.KNOWN_LAYERS", ())  # as if the model kept its past in another way
    printed_card = card(capsys, 1, "demo")
    assert [check["code"] for check in printed_card["checks"]] == ["prefix_cache"]
    assert printed_card["model"]["name"] == "demo"


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_the_support_card_of_a_quantised_model_shows_the_quantization(
    tiny_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--quantization", "nf4", "--longest", "100", "--device", "cpu"]
    assert card(capsys, 0, str(tiny_folder("Llama-3.1-8B")), *options)["model"]["quantization"] == "nf4"


def test_an_error_of_transformer_lens_is_one_line_with_the_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("falcon-40b", "gpt_neox without biases"):
        folder = str(save_tiny(kind, tmp_path / kind))
        assert "ForCausalLM" in mistake(capsys, "doctor", folder)
