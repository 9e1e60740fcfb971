"""The real configs are those of the released models, and their small copies keep the proportions."""

from typing import Any

import pytest
import torch
import transformers

from tests.real_configs import RELEASED, config_of, shrunken_config

TOKENS = {"vocab_size": 600, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def test_a_model_of_the_real_config_has_as_many_parameters_as_the_hub_counts() -> None:
    for name, released in RELEASED.items():
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config_of(released))
        n_parameters = sum(weight.numel() for weight in model.parameters())
        assert n_parameters / 1e9 == pytest.approx(released.parameters, rel=5e-3), name


def proportions(config: Any) -> dict[str, float]:
    """Ratios that do not depend on the size of a model."""
    text = config.get_text_config()
    d_head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    mlp = getattr(text, "intermediate_size", None) or getattr(text, "ffn_dim", None) or 4 * text.hidden_size
    n_kv_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return {
        "z to width": text.num_attention_heads * d_head / text.hidden_size,
        "query heads a key-value head": text.num_attention_heads / n_kv_heads,
        "MLP to width": mlp / text.hidden_size,
        "a window": bool(getattr(text, "sliding_window", None)),
        "tied": text.tie_word_embeddings,
    }


def test_a_small_copy_has_the_class_and_the_proportions_of_the_real_model() -> None:
    for name, released in RELEASED.items():
        real, small = config_of(released), shrunken_config(released, TOKENS)
        assert type(small) is type(real)
        assert proportions(small) == pytest.approx(proportions(real), rel=0.02), name
        rotary = getattr(real.get_text_config(), "rope_parameters", None)
        if rotary:
            ours = small.get_text_config().rope_parameters
            assert ours | {"original_max_position_embeddings": 0} == rotary | {"original_max_position_embeddings": 0}
