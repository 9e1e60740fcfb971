"""Loading of models by the commands, and the support card of `site-lens doctor`."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import site_lens as sl
from site_lens.cli.commands import app
from site_lens.cli.options import ModelSource
from tests.cli.test_cli import Printed, mistake, run
from tests.tiny_models import save_tiny

WITH_MODEL = (
    "fit", "evaluate", "methods", "selectors", "transfer", "faithfulness", "sensitivity", "landscape", "profile",
    "ablate", "combine", "doctor",
)  # fmt: skip


def card(capsys: Printed, code: int, *arguments: str) -> dict[str, Any]:
    """Return the support card of a model, and check the exit code."""
    capsys.readouterr()
    assert run("doctor", *arguments, "--json") == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed["ok"] is (code == 0)
    return printed


def test_every_command_that_needs_a_model_takes_all_options_and_passes_them_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Printed
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
        "gguf_file": "a.gguf", "revision": "v1", "trust_remote_code": False, "label": None, "check": False,
    }  # fmt: skip


def test_the_support_card_shows_failed_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    assert run("doctor", "demo", "--longest", "20") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("") - 1].split() == ["hook-free:", "yes"]  # an empty line stands before the checks
    assert re.fullmatch(r"(\d+) of \d+ checks pass, 1 skipped: this model can be used", lines[-1])
    assert card(capsys, 0, "demo", "--longest", "20")["hooks_needed"] == ""

    broken = tmp_path / "llama"
    save_tiny("llama", broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.0.self_attn.v_proj.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    failed = card(capsys, 1, str(broken), "--dtype", "float32", "--longest", "20")
    checks = {check["code"]: check for check in failed["checks"]}
    assert (checks["padding"]["state"], checks["padding"]["value"]) == ("fail", None)  # JSON has no NaN

    (check,) = card(capsys, 1, str(save_tiny("mamba", tmp_path / "mamba")))["checks"]
    assert (check["code"], check["state"]) == ("hook_z", "fail")  # no layer has attention

    monkeypatch.setattr("site_lens.models.kv_cache.KNOWN_LAYERS", ())  # as if the model kept its past in another way
    printed_card = card(capsys, 1, "demo")
    assert [check["code"] for check in printed_card["checks"]] == ["prefix_cache"]
    assert printed_card["model"]["name"] == "demo"
