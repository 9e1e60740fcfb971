"""Checkpoints of tiny random models: one for each architecture that the tests know, and small copies of real ones."""

import json
from pathlib import Path
from typing import Any

from tests.real_configs import RELEASED, shrunken_config
from tests.tiny_tokenizers import tiny_tokenizer

ARCHITECTURES = (
    "gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3", "phi", "opt", "falcon",
    "bloom", "deepseek_v2", "deepseek_v3", "gemma4", "qwen3_5", "qwen3_next", "olmo_hybrid", "lfm2",
)  # fmt: skip
"""Architectures that must work through TransformerBridge."""


CONFIGS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "tiny_configs.json").read_text())
"""Class of the config and settings beside those of its base, by architecture; see `tiny_config`."""


def tiny_config(kind: str, *, vocab_size: int, n_ctx: int = 128) -> Any:
    """Return a config of two layers of four heads, with dropout where the architecture has any."""
    import transformers

    # Ten times the usual spread of weights: logits of a small random model would otherwise hardly differ at all.
    tokens: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    layers = tokens | {
        "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "max_position_embeddings": n_ctx,
    }  # fmt: skip
    size = layers | {"intermediate_size": 64, "initializer_range": 0.2}
    bases: dict[str | None, dict[str, Any]] = {
        None: {},
        "tokens": tokens,
        "layers": layers,
        "size": size,
        "grouped": size | {"num_key_value_heads": 2},
        "gpt2": tokens | {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": n_ctx},
    }
    entry, given = CONFIGS[kind], {"VOCAB_SIZE": vocab_size, "N_CTX": n_ctx}
    settings: dict[str, Any] = {
        name: given.get(value, value) if isinstance(value, str) else value for name, value in entry["settings"].items()
    }
    if "text_base" in entry:
        settings["text_config"] = bases[entry["text_base"]] | settings["text_config"]
    return getattr(transformers, entry["class"])(**bases[entry.get("base")] | settings)


UNHOOKED = (
    "falcon-40b", "falcon-11b", "gpt_neox without biases", "gpt_bigcode multi-head", "phi with norms", "opt post-norm",
    "bart decoder", "gpt2 with cross-attention", "persimmon",
)  # fmt: skip
"""Settings on which TransformerLens raises one error or another."""

MULTIMODAL = ("mistral3", "llava", "llama4")
"""Models that see images, too, whose text decoder is hooked; Gemma 3 is among the released models."""


def tiny_model(kind: str, *, vocab_size: int, n_ctx: int = 128) -> Any:
    """Build a random model; its weights depend on the architecture alone."""
    return random_model(tiny_config(kind, vocab_size=vocab_size, n_ctx=n_ctx))


def random_model(config: Any) -> Any:
    """Build a model of a config with random weights, always the same."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        several = config.get_text_config() is not config
        auto = transformers.AutoModelForImageTextToText if several else transformers.AutoModelForCausalLM
        model = auto.from_config(config)
        for weight in model.parameters():
            if weight.ndim == 1:  # biases and norms begin at 0 or 1: give them something to go wrong with
                torch.nn.init.normal_(weight, std=0.1)
    return model


def save_tiny(kind: str, folder: Path, *, n_ctx: int = 128) -> Path:
    """Save a random model as a checkpoint, in float32.

    An architecture comes with the demo model's tokenizer, a released model with one of the class that it has.
    """
    if kind in RELEASED:
        tokenizer = tiny_tokenizer(RELEASED[kind].tokenizer)
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        tokens = {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in names}
        model = random_model(shrunken_config(RELEASED[kind], tokens, n_ctx=n_ctx))
    else:
        tokenizer = tiny_tokenizer("demo")
        model = tiny_model(kind, vocab_size=len(tokenizer), n_ctx=n_ctx)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
