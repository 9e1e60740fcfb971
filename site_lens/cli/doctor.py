"""Doctor command: check a model before it is used."""

import math
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

import site_lens as sl
from site_lens.cli.options import MODELS, AsJson, ModelSource, count, not_empty, with_option_groups
from site_lens.cli.output import show_json, show_line, show_table

FACTS = (
    "name", "architecture", "host", "d_head", "dtype", "quantization", "weights_from", "processing", "value_bias", "bos"
)  # fmt: skip
"""Fields of a model's identity that the support card shows."""


@with_option_groups
def doctor(
    model: Annotated[str, typer.Argument(parser=not_empty, metavar="MODEL", help=MODELS)],
    source: ModelSource,
    longest: Annotated[
        int, typer.Option(**count("longest"), help="Tokens of the long prompt; exceed the sliding window.")
    ] = 1100,
    as_json: AsJson = False,
) -> None:
    """Measure whether a model can be hooked, patched and cached as the methods need; exit code 1 if it cannot.

    A model that TransformerLens or transformers cannot make at all is an error, and the exit code 2.
    """
    identity: dict[str, Any] = {}
    try:
        loaded = source.load(check=False)
        identity = loaded.identity.model_dump(mode="json")
        checks = sl.check_model(loaded, longest=longest)
    except sl.ModelError as error:
        if error.__cause__ is not None:  # raised by a library: nothing was measured
            raise
        checks = (sl.ModelCheck("prefix_cache" if identity else "hook_z", "fail", None, 0.0, str(error)),)
    ok = all(check.state != "fail" for check in checks)
    rows = [asdict(check) for check in checks]
    if as_json:  # JSON has no NaN: such a value is null, and its check has failed
        finite = [row | {"value": v if (v := row["value"]) is None or math.isfinite(v) else None} for row in rows]
        show_json({"ok": ok, "model": identity, "checks": finite})
    else:
        for name in FACTS:
            if name in identity:
                show_line(f"{name + ':':14}{identity[name]}")
        if identity:
            print(f"{'heads:':14}{sl.HeadGrid(tuple(identity['grid']['heads_per_layer']))}")
        show_table(rows)
    sys.exit(0 if ok else 1)
