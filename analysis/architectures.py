"""Write the sweep of docs/models.md: which architectures are supported, on tiny random models, and why others are not.

Every causal language model of the installed `transformers` that TransformerLens has an adapter for is built from one
dictionary of small sizes, and wrapped, which runs the quick check. Run as `python -m analysis.architectures --page
docs/models.md` from the repository's root; it takes minutes on one thread. Without `--page` it prints.
"""

import argparse
import dataclasses
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import AutoTokenizer

import site_lens as sl
from analysis.pages import machine, put_into, table
from site_lens.records.assets import DEMO_MODEL
from site_lens.records.library_errors import error_reason
from tests.tiny_models import random_model

PART = "architectures"
"""Name of the marks on the page."""
SIZES: dict[str, Any] = {
    "hidden_size": 32, "n_embd": 32, "d_model": 32, "intermediate_size": 64, "ffn_dim": 64, "n_inner": 64,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "word_embed_proj_dim": 32, "initializer_range": 0.1, "sliding_window": 8, "rotary_dim": 4,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "n_shared_experts": 1, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16, "first_k_dense_replace": 1,
    "kv_lora_rank": 12, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_d_ssm": 64, "mamba_n_groups": 1,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "state_size": 8, "n_groups": 1,
    "global_head_dim": 16, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0,
    "query_pre_attn_scalar": 8, "use_mamba_kernels": False, "attn_layer_period": 2, "attn_layer_offset": 1,
    "attn_layer_indices": [1, 3], "position_embedding_type": "rope",
    "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
"""Sizes of every tiny model; a config takes those of its own fields."""


UNFIT = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
    StrictDataclassError,
)  # fmt: skip
"""What code of transformers raises for sizes that it was not made for."""

MOST_WEIGHTS = 4_000_000
"""Weights of the largest model that is tried."""


class Outcome(NamedTuple):
    """What came of one architecture."""

    architecture: str
    state: str
    """`supported`, `refused` or `not tried`."""
    reason: str
    """Heads of a supported model; else why not."""


def main() -> None:
    """Try every architecture, and write or print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="page to write into, between its marks")
    page = parser.parse_args().page
    text = described(list(outcomes()), sorted(set(causal_models()) - set(SUPPORTED_ARCHITECTURES)))
    if page is None:
        print(text)
    else:
        put_into(page, text, part=PART)


def causal_models() -> dict[str, type]:
    """Return the config class of every causal language model of transformers, by the name of its class."""
    found: dict[str, type] = {}
    for config_class, classes in transformers.MODEL_FOR_CAUSAL_LM_MAPPING.items():
        found |= {cls.__name__: config_class for cls in (classes if isinstance(classes, tuple) else (classes,))}
    return found


def outcomes() -> Iterator[Outcome]:
    """Try every architecture that both libraries know."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    for name, config_class in sorted(causal_models().items()):
        if name in SUPPORTED_ARCHITECTURES:
            outcome = tried(name, config_class, tokenizer)
            print(*outcome, sep="; ", file=sys.stderr, flush=True)
            yield outcome


def tried(name: str, config_class: Any, tokenizer: Any) -> Outcome:
    """Build a tiny model of an architecture and wrap it."""
    try:
        config = tiny_config(config_class, len(tokenizer))
        with torch.device("meta"):
            n_weights = transformers.AutoModelForCausalLM.from_config(config).num_parameters()
        if n_weights > MOST_WEIGHTS:
            return Outcome(name, "not tried", f"{n_weights:,} weights with these sizes")
        hf_model = random_model(config).float().eval()
        with torch.no_grad():
            hf_model(torch.tensor([[3, 4, 5, 6]]))
    except UNFIT as error:
        return Outcome(name, "not tried", f"transformers: {short(error_reason(error))}")
    if type(hf_model).__name__ != name:
        return Outcome(name, "not tried", f"its config makes a {type(hf_model).__name__}")
    try:
        identity = sl.wrap_model(hf_model, tokenizer=tokenizer, name="it").identity
    except sl.SiteLensError as error:
        return Outcome(name, "refused", short(str(error)))
    return Outcome(name, "supported", identity.heads)


def tiny_config(config_class: Any, vocab_size: int) -> Any:
    """Build a config of the small sizes that are fields of its class, or names that stand for them."""
    fields = {field.name for field in dataclasses.fields(config_class)} | set(config_class.attribute_map)
    sizes = SIZES | {"vocab_size": vocab_size, "vocab_size_per_layer_input": vocab_size}
    if "kv_lora_rank" in fields:  # latent attention: every head has keys and values, of widths of their own
        fields -= {"head_dim", "num_key_value_heads"}
    return config_class(**{name: value for name, value in sizes.items() if name in fields})


def short(reason: str) -> str:
    """Cut a reason to one line of a table."""
    line = re.sub(r"^TransformerLens cannot hook it \(\w+\): ", "TransformerLens: ", " ".join(reason.split()))
    return textwrap.shorten(line.replace("<", "‹").replace(">", "›"), 200, placeholder=" ...")


def described(found: list[Outcome], unknown: list[str]) -> str:
    """Write the part of the page."""
    supported = [one for one in found if one.state == "supported"]
    others = [(f"`{one.architecture}`", one.state, one.reason) for one in found if one.state != "supported"]
    names = ", ".join(f"`{one.architecture}`" for one in supported)
    return "\n\n".join([
        machine(),
        f"**Supported**, {len(supported)} of {len(found)}: {names}.",
        table(("architecture", "outcome", "reason"), others),
        f"**Refused**, as TransformerLens has no adapter for them, {len(unknown)}: "
        f"{', '.join(f'`{name}`' for name in unknown)}.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
