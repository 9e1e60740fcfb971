"""The configs of released models, as their `config.json` on the Hugging Face hub has them, and small copies of them.

Only fields that decide shapes and computation are in `released_models.json`. `parameters` is the count that the hub
shows for the weights, in units of 10^9: an independent check of the numbers beside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TokenizerKind = Literal["gpt2", "opt", "llama3", "mistral", "gemma", "qwen", "demo"]


@dataclass(frozen=True, slots=True)
class Released:
    """A released model."""

    hub_id: str
    """The base model; models tuned from it (instruct, chat) have the same config."""
    model_type: str
    parameters: float
    """Billions of parameters that the hub counts."""
    config: dict[str, Any]
    tokenizer: TokenizerKind = "gpt2"
    """Which kind of tokenizer it has; see `tiny_tokenizers.py`."""
    in_paper: bool = False
    """Whether the paper (arXiv 2507.20906) fits it or a model tuned from it."""


RELEASED: dict[str, Released] = {
    name: Released(**fields)
    for name, fields in json.loads((Path(__file__).parent / "released_models.json").read_text()).items()
}
"""By the name that the documents use."""

GPT_2_NAMES = {
    "hidden_size": "n_embd", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer",
    "max_position_embeddings": "n_positions",
}  # fmt: skip
WIDTHS = ("intermediate_size", "ffn_dim", "word_embed_proj_dim")


def config_of(released: Released) -> Any:
    """Build the config of a released model as `transformers` does from its `config.json`."""
    from transformers import AutoConfig

    return AutoConfig.for_model(released.model_type, **released.config)


def shrunken_config(released: Released, tokens: dict[str, Any], *, n_ctx: int = 128) -> Any:
    """Build a small config of the same class, in the proportions of the real one.

    Kept: heads per key-value head, d_head to width, width to MLP, windows where there are any, rotary settings, norms.
    Two layers; 4 to 16 heads of 8 to 12 numbers, or all 71 of Falcon, which is a prime; a sliding window of 8.

    Args:
        released: The real config.
        tokens: Size of the vocabulary and ids of the special tokens, by their names in a config.
        n_ctx: The longest prompt.
    """
    from transformers import AutoConfig

    fields = released.config
    if "text_config" not in fields:
        return AutoConfig.for_model(released.model_type, **(_shrunken(fields, n_ctx) | tokens))
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return AutoConfig.for_model(
        released.model_type,
        text_config=_shrunken(fields["text_config"], n_ctx) | tokens,
        vision_config=fields["vision_config"] | vision | {"image_size": 28},
        mm_tokens_per_image=4,
    )


def _shrunken(fields: dict[str, Any], n_ctx: int) -> dict[str, Any]:
    named = {name: old if old in fields else name for name, old in GPT_2_NAMES.items()}
    width, n_heads = fields[named["hidden_size"]], fields[named["num_attention_heads"]]
    n_kv = fields.get("num_key_value_heads", n_heads)
    d_head = d_small = fields.get("head_dim", width // n_heads)
    while d_small > 12:
        d_small //= 2
    share = max(g for g in range(1, n_kv + 1) if n_heads % g == n_kv % g == 0 and n_heads >= 4 * g and n_kv >= 2 * g)
    scale = d_small / d_head / share
    changed = {
        named["hidden_size"]: round(width * scale), named["num_attention_heads"]: n_heads // share,
        named["num_hidden_layers"]: 2, named["max_position_embeddings"]: n_ctx,
        "num_key_value_heads": n_kv // share, "head_dim": d_small, "sliding_window": 8,
        "query_pre_attn_scalar": d_small,
    }  # fmt: skip
    changed |= {name: round(fields[name] * scale) for name in WIDTHS if name in fields}
    if fields.get("sliding_window") is None:
        del changed["sliding_window"]
    rotary = fields.get("rope_parameters", {})
    if "original_max_position_embeddings" in rotary:
        real_ctx = fields[named["max_position_embeddings"]]
        short_ctx = rotary["original_max_position_embeddings"] * n_ctx // real_ctx
        changed["rope_parameters"] = rotary | {"original_max_position_embeddings": short_ctx}
    small = fields | {name: value for name, value in changed.items() if name in fields}
    if "sliding_window_pattern" in fields:  # one full layer behind so many with a window: here one of each
        small |= {"sliding_window_pattern": 2, "layer_types": ["sliding_attention", "full_attention"]}
    # Wider than usual, so that the logits of a small random model differ from one another.
    spread = 1.1 / small[named["hidden_size"]] ** 0.5
    return small | {"init_std" if "ffn_dim" in fields else "initializer_range": spread}
