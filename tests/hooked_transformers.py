"""The tiny models and the demo model as HookedTransformer, which TransformerLens has up to 3.9.

HookedTransformer loads no local folders, so the weights go through TransformerLens' own conversion.
"""

import warnings
from importlib.metadata import version
from typing import Any

import torch

import site_lens as sl
from site_lens.models.base import LensModel

ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "gemma2", "demo") if version("transformer-lens") < "4" else ()
"""What can be built here: nothing under TransformerLens 4."""


def as_hooked_transformer(hf_model: Any, tokenizer: Any, *, fold: bool = False) -> LensModel:
    """Convert a Hugging Face model, and wrap it.

    Args:
        hf_model: The model.
        tokenizer: Its tokenizer.
        fold: Whether TransformerLens may fold norms and biases, as HookedTransformer does by default.
    """
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    cfg = HookedTransformerConfig(**_settings(hf_model), init_weights=False, dtype=hf_model.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "HookedTransformer is deprecated", DeprecationWarning)  # that it goes in 4.0
        model = HookedTransformer(cfg, tokenizer, default_padding_side="left")
    weights = _convert(hf_model, cfg)
    model.load_and_process_state_dict(
        weights, fold_ln=fold, center_writing_weights=fold, center_unembed=False, fold_value_biases=fold
    )
    return sl.wrap_model(model.to(hf_model.dtype), name=hf_model.config.model_type)


def _settings(hf_model: Any) -> dict[str, Any]:
    """Say a config in HookedTransformer's words, as TransformerLens does for released models."""
    config = hf_model.config
    common = {
        "original_architecture": type(hf_model).__name__,
        "d_model": config.hidden_size,
        "n_heads": config.num_attention_heads,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "device": "cpu",
    }
    if config.model_type == "gpt2":
        return common | {
            "d_head": config.n_embd // config.n_head, "d_mlp": 4 * config.n_embd, "eps": config.layer_norm_epsilon,
            "act_fn": config.activation_function, "normalization_type": "LN",
        }  # fmt: skip
    if config.model_type == "gpt_neox":
        d_head = config.hidden_size // config.num_attention_heads
        return common | {
            "d_head": d_head, "d_mlp": config.intermediate_size, "eps": config.layer_norm_eps,
            "act_fn": config.hidden_act, "parallel_attn_mlp": config.use_parallel_residual, "normalization_type": "LN",
            "positional_embedding_type": "rotary", "rotary_adjacent_pairs": False,
            "rotary_dim": round(config.rope_parameters["partial_rotary_factor"] * d_head),
        }  # fmt: skip
    grouped = common | {
        "d_head": config.head_dim, "d_mlp": config.intermediate_size, "eps": config.rms_norm_eps,
        "n_key_value_heads": config.num_key_value_heads, "normalization_type": "RMS", "final_rms": True,
        "gated_mlp": True, "positional_embedding_type": "rotary", "rotary_adjacent_pairs": False,
        "rotary_dim": config.head_dim, "rotary_base": config.rope_parameters["rope_theta"],
    }  # fmt: skip
    if config.model_type == "llama":
        return grouped | {"act_fn": config.hidden_act}
    return grouped | {
        "act_fn": "gelu_pytorch_tanh", "use_local_attn": True, "window_size": config.sliding_window,
        "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in config.layer_types],
        "attn_scores_soft_cap": config.attn_logit_softcapping, "attn_scale": config.query_pre_attn_scalar**0.5,
        "output_logits_soft_cap": config.final_logit_softcapping, "use_normalization_before_and_after": True,
    }  # fmt: skip


def _convert(hf_model: Any, cfg: Any) -> dict[str, torch.Tensor]:
    from transformer_lens.pretrained import weight_conversions as convert

    by_type = {
        "gpt2": convert.convert_gpt2_weights,
        "gpt_neox": convert.convert_neox_weights,
        "llama": convert.convert_llama_weights,
        "gemma2": convert.convert_gemma_weights,
    }
    weights: dict[str, torch.Tensor] = by_type[hf_model.config.model_type](hf_model, cfg)
    return weights
