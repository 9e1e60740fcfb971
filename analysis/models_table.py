"""Write the table of docs/models.md: what released models need, and what was checked on small copies of them.

Sizes are counted on models that are built of the real configs without memory for weights; checks are measured. Run as
`python -m analysis.models_table` from the repository's root; it takes a minute on one thread.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.integrations import replace_with_bnb_linear

import site_lens as sl
from analysis.pages import machine, put_into, table
from site_lens.activations.hf_models import find_projections, plain_grid
from site_lens.models.loading import load_model
from site_lens.models.plain_transformers import text_decoder
from site_lens.models.quantization import KEPT, Quantization, bitsandbytes_settings
from tests.real_configs import RELEASED, Released, config_of
from tests.tiny_models import save_tiny

PAGE = Path("docs/models.md")
GIB = 2**30
FLOAT32_BYTES = 4
NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""A weight: four bits, a byte of scale for each block of 64, and a float32 for each 256 of those scales."""
SPLIT = (".c_attn", ".query_key_value", ".qkv_proj", ".mlp.gate_up_proj")
"""Names of modules whose weights TransformerBridge splits."""
HEADER = (
    "model", "heads: layers x heads x d_head", "alphas", "embedding, KiB", "weights in bf16, GiB", "in NF4, GiB",
    "doctor: float32", "bf16", "NF4", "int8",
)  # fmt: skip


def main() -> None:
    """Measure every model and write the page."""
    rows = [
        (f"`{one.hub_id}`{' *' if one.in_paper else ''}", *sizes(one), *checks(name)) for name, one in RELEASED.items()
    ]
    put_into(PAGE, f"{machine()}\n\n{table(HEADER, rows)}", part="released models")


def sizes(released: Released) -> tuple[str, ...]:
    """Return heads, alphas, bytes of an embedding, and memory for weights of the real model."""
    whole = without_memory(config_of(released))
    grid, widths = plain_grid(whole, find_projections(whole))
    d_head = max(widths)
    embedding = len(grid) * d_head * FLOAT32_BYTES / 2**10
    packed = without_memory(config_of(released), "nf4")
    in_nf4 = f"{n_bytes(packed) / GIB:,.1f}" if any(map(is_packed, packed.modules())) else "–"
    return (
        f"{grid.n_layers} x {grid.n_heads} x {d_head}", f"{len(grid):,}", f"{embedding:,.0f}",
        f"{n_bytes(whole) / GIB:,.1f}", in_nf4,
    )  # fmt: skip


def without_memory(config: Any, how: Quantization | None = None) -> Any:
    """Build the text decoder of a config in bfloat16, quantised or not, without memory for its weights."""
    with torch.device("meta"):
        hf_model = text_decoder(transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16))
    if how is None:
        return hf_model
    return replace_with_bnb_linear(hf_model, list(KEPT), bitsandbytes_settings(how, torch.bfloat16))


def is_packed(module: nn.Module) -> bool:
    """Say whether a module is a linear map of four bits a weight."""
    return type(module).__name__ == "Linear4bit"


def n_bytes(model: nn.Module) -> float:
    """Count the memory that all weights of a plain model need under a TransformerBridge.

    Quantised maps count as what they become when they are filled; weights that TransformerBridge splits count twice,
    since it keeps the whole beside the parts.
    """
    packed = {id(module.weight) for module in model.modules() if is_packed(module)}
    split = {id(w) for name, part in model.named_modules() if name.endswith(SPLIT) for w in part.parameters()}
    return sum(
        w.numel() * (NF4_BYTES if id(w) in packed else w.element_size()) * (2 if id(w) in split else 1)
        for w in model.parameters()
    )


def checks(name: str) -> Iterable[str]:
    """Take the small copy of a model through every check of the support card, in each number format."""
    with tempfile.TemporaryDirectory() as folder:
        save_tiny(name, Path(folder))
        for options in ({}, {"dtype": "bfloat16"}, {"quantization": "nf4"}, {"quantization": "int8"}):
            yield card(Path(folder), **options)


def card(folder: Path, **options: Any) -> str:
    """Count the checks that are good, of those that are measured."""
    try:
        found = sl.check_model(load_model(folder, device="cpu", check=False, **options), longest=100)
    except sl.ModelError:
        return "refused"
    measured = [check for check in found if check.state != "skipped"]
    good = [check for check in measured if check.state == "ok"]
    return f"{len(good)} of {len(measured)}"


if __name__ == "__main__":
    main()
