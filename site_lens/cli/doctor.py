"""Doctor command: check a model before it is used."""

import math
import sys
from dataclasses import asdict
from typing import Annotated, Any

from typer import Argument

import site_lens as sl
from site_lens.cli.options import MODELS, AsJson, ModelSource, counted, not_empty, with_option_groups
from site_lens.cli.output import show_json, show_line

FACTS = (
    "name", "architecture", "host", "d_head", "dtype", "quantization", "weights_from", "processing", "value_bias", "bos"
)  # fmt: skip
"""Fields of a model's identity that the support card shows."""


BOUND = {"edit_has_effect": "least"}
"""Checks whose value has to be above the threshold."""


@with_option_groups
def doctor(
    model: Annotated[str, Argument(parser=not_empty, metavar="MODEL", help=MODELS)],
    source: ModelSource,
    longest: Annotated[
        int | None, counted("longest", "Tokens of the long prompt; 256, or past the model's sliding window.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether a model can be hooked, patched and cached as the methods need; exit code 1 if it cannot.

    A model that TransformerLens or transformers cannot make at all is an error, and the exit code 2.
    """
    identity: dict[str, Any] = {}
    needed = ""
    try:
        loaded = source.load(check=False)
        identity = loaded.identity.model_dump(mode="json")
        if not as_json:
            _show_facts(identity)
        needed = loaded.hooks_needed
        if not as_json:
            show_line(f"{'hook-free:':14}{f'no: {needed}' if needed else 'yes'}")
            show_line("")
        checks = sl.check_model(loaded, longest=longest, each=None if as_json else _show_check)
    except sl.ModelError as error:
        if error.__cause__ is not None:  # raised by a library: nothing was measured
            raise
        checks = (sl.ModelCheck("prefix_cache" if identity else "hook_z", "fail", None, 0.0, str(error)),)
        if not as_json:
            _show_check(*checks)
    ok = all(check.state != "fail" for check in checks)
    rows = [asdict(check) for check in checks]
    if as_json:  # JSON has no NaN: such a value is null, and its check has failed
        finite = [row | {"value": v if (v := row["value"]) is None or math.isfinite(v) else None} for row in rows]
        show_json({"ok": ok, "model": identity, "hooks_needed": needed, "checks": finite})
    else:
        n = {state: sum(check.state == state for check in checks) for state in ("ok", "skipped", "fail")}
        skipped = f", {n['skipped']} skipped" if n["skipped"] else ""
        show_line(
            f"{n['ok']} of {len(checks)} checks pass{skipped}: this model can be used"
            if ok
            else f"{n['fail']} of {len(checks)} checks failed: this model cannot be used"
        )
    sys.exit(0 if ok else 1)


def _show_facts(identity: dict[str, Any]) -> None:
    for name in FACTS:
        if name in identity:
            show_line(f"{name + ':':14}{identity[name]}")
    print(f"{'heads:':14}{sl.HeadGrid(tuple(identity['grid']['heads_per_layer']))}", flush=True)


def _show_check(check: "sl.ModelCheck") -> None:
    value = "" if check.value is None else f"{check.value:.2g} (at {BOUND.get(check.code, 'most')} {check.threshold:g})"
    show_line(f"{check.state:8}{check.code:21}{value:26}{check.meaning}")
