"""The command that examines a model before it is used."""

import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, ModelSource, count, loads_a_model, not_empty
from site_lens.cli.output import show_line, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from site_lens.models.checks import ModelCheck


@loads_a_model
def doctor(
    model: Annotated[
        str, typer.Argument(parser=not_empty, metavar="MODEL", help="'demo', a Hugging Face folder or a hub id.")
    ],
    source: ModelSource,
    longest: Annotated[
        int, typer.Option(**count("longest"), help="Tokens of the long prompt; exceed the sliding window.")
    ] = 1100,
    as_json: AsJson = False,
) -> None:
    """Measure whether a model can be hooked, patched and cached as the methods need; exit code 1 if it cannot.

    A model that TransformerLens or transformers cannot make at all is an error, and the exit code 2.
    """
    known: dict[str, Any] = {}
    try:
        loaded = source.load(check=False)
        known = loaded.identity.model_dump(mode="json")
        checks = sl.check_model(loaded, longest=longest)
    except sl.ModelError as error:
        if error.__cause__ is not None:  # raised by a library, and nothing that was measured
            raise
        checks = (sl.ModelCheck("prefix_cache" if known else "hook_z", "fail", None, 0.0, str(error)),)
    ok = all(check.state != "fail" for check in checks)
    if as_json:
        print(json.dumps({"ok": ok, "model": known, "checks": [_finite(asdict(check)) for check in checks]}, indent=1))
    else:
        _show_card(checks, known)
    sys.exit(0 if ok else 1)


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows neither NaN nor infinity: such a value is null, and its check has failed."""
    return {k: None if isinstance(value, float) and not math.isfinite(value) else value for k, value in fields.items()}


def _show_card(checks: "Sequence[ModelCheck]", known: dict[str, Any]) -> None:
    for name in ("name", "architecture", "host", "d_head", "dtype", "quantization", "processing", "value_bias", "bos"):
        if name in known:
            show_line(f"{name + ':':14}{known[name]}")
    if known:
        print(f"{'heads:':14}{sl.HeadGrid(tuple(known['grid']['heads_per_layer']))}")
    cells = [
        [c.code, c.state, "" if c.value is None else f"{c.value:.2g}", f"{c.threshold:.2g}", c.meaning] for c in checks
    ]
    show_table(["check", "state", "value", "threshold", "what was measured"], cells)
