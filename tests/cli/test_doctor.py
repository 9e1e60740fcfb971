"""Loading of models by the commands, and the support card of `site-lens doctor`."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.test_cli import run
from tests.tiny_models import save_tiny


def card(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> dict[str, Any]:
    """Return the support card of a model, and check the exit code."""
    capsys.readouterr()
    assert run("doctor", *arguments, "--json") == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed["ok"] is (code == 0)
    return printed


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

    (check,) = card(capsys, 1, str(save_tiny("lfm2", tmp_path / "lfm2")))["checks"]
    assert (check["code"], check["state"]) == ("hook_z", "fail")  # some layers have no attention

    monkeypatch.setattr("site_lens.models.kv_cache.KNOWN_LAYERS", ())  # as if the model kept its past in another way
    printed_card = card(capsys, 1, "demo")
    assert [check["code"] for check in printed_card["checks"]] == ["prefix_cache"]
    assert printed_card["model"]["name"] == "demo"
