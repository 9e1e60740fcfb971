"""The configs of released models, as their `config.json` on the Hugging Face hub has them, and small copies of them.

Only what decides shapes and computation is written down. `parameters` is the count that the hub shows for the weights,
in units of 10^9: an independent check of the numbers beside it.
"""

from dataclasses import dataclass
from typing import Any, Literal

TokenizerKind = Literal["gpt2", "opt", "llama3", "mistral", "gemma", "qwen", "demo"]


@dataclass(frozen=True, slots=True)
class Released:
    """A released model."""

    hub_id: str
    """The base model; what is derived from it by tuning (instruct, chat) has the same config."""
    model_type: str
    parameters: float
    """Billions of parameters that the hub counts."""
    config: dict[str, Any]
    tokenizer: TokenizerKind = "gpt2"
    """Which kind of tokenizer it has; see `tiny_tokenizers.py`."""
    in_paper: bool = False
    """Whether the paper (arXiv 2507.20906) fits it or a model tuned from it."""


LLAMA_3 = {
    "vocab_size": 128256, "max_position_embeddings": 131072, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}  # fmt: skip
QWEN_3 = {
    "vocab_size": 151936, "max_position_embeddings": 40960, "num_key_value_heads": 8, "head_dim": 128,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
}  # fmt: skip
GEMMA_2 = {
    "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim": 256, "sliding_window": 4096,
    "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
}  # fmt: skip

RELEASED: dict[str, Released] = {
    "Llama-3.1-8B": Released(
        "meta-llama/Llama-3.1-8B", "llama", 8.03,
        {
            **LLAMA_3, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32,
        },
        "llama3", in_paper=True,
    ),
    "Llama-3.1-70B": Released(
        "meta-llama/Llama-3.1-70B", "llama", 70.55,
        {
            **LLAMA_3, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
            "num_attention_heads": 64,
        },
        "llama3", in_paper=True,
    ),
    "Mistral-7B-v0.3": Released(
        "mistralai/Mistral-7B-v0.3", "mistral", 7.25,
        {
            "vocab_size": 32768, "max_position_embeddings": 32768, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
            "rms_norm_eps": 1e-5, "sliding_window": None, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        "mistral", in_paper=True,
    ),
    "Mixtral-8x7B": Released(
        "mistralai/Mixtral-8x7B-v0.1", "mixtral", 46.70,
        {
            "vocab_size": 32000, "max_position_embeddings": 32768, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "sliding_window": None, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        "mistral", in_paper=True,
    ),
    "Qwen3-8B": Released(
        "Qwen/Qwen3-8B", "qwen3", 8.19,
        {**QWEN_3, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
        "qwen", in_paper=True,
    ),
    "Qwen3-32B": Released(
        "Qwen/Qwen3-32B", "qwen3", 32.76,
        {**QWEN_3, "hidden_size": 5120, "intermediate_size": 25600, "num_hidden_layers": 64, "num_attention_heads": 64},
        "qwen", in_paper=True,
    ),
    "gemma-3-4b": Released(
        "google/gemma-3-4b-pt", "gemma3", 4.30,
        {
            "text_config": {
                "vocab_size": 262208, "max_position_embeddings": 131072, "hidden_size": 2560,
                "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4,
                "head_dim": 256,
                "sliding_window": 1024, "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
                "hidden_activation": "gelu_pytorch_tanh",
            },
            "vision_config": {
                "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
                "patch_size": 14, "image_size": 896, "vision_use_head": False,
            },
            "mm_tokens_per_image": 256,
        },
        "gemma", in_paper=True,
    ),
    "GPT-2": Released(
        "openai-community/gpt2", "gpt2", 0.124,
        {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    ),
    "Pythia-6.9B": Released(
        "EleutherAI/pythia-6.9b", "gpt_neox", 6.86,
        {
            "vocab_size": 50432, "max_position_embeddings": 2048, "hidden_size": 4096, "intermediate_size": 16384,
            "num_hidden_layers": 32, "num_attention_heads": 32, "use_parallel_residual": True,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        },
    ),
    "OLMo-7B": Released(
        "allenai/OLMo-7B-hf", "olmo", 6.89,
        {
            "vocab_size": 50304, "max_position_embeddings": 2048, "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "clip_qkv": None,
            "tie_word_embeddings": False,
        },
    ),
    "OLMo-2-7B": Released(
        "allenai/OLMo-2-1124-7B", "olmo2", 7.30,
        {
            "vocab_size": 100352, "max_position_embeddings": 4096, "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
    ),
    "Phi-2": Released(
        "microsoft/phi-2", "phi", 2.78,
        {
            "vocab_size": 51200, "max_position_embeddings": 2048, "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 32, "num_attention_heads": 32, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
        },
    ),
    "Phi-3-mini": Released(
        "microsoft/Phi-3-mini-4k-instruct", "phi3", 3.82,
        {
            "vocab_size": 32064, "max_position_embeddings": 4096, "hidden_size": 3072, "intermediate_size": 8192,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "sliding_window": 2047,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "pad_token_id": 0,
        },
        "mistral",
    ),
    "Falcon-7B": Released(
        "tiiuae/falcon-7b", "falcon", 6.92,
        {
            "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71,
            "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False, "bias": False,
            "alibi": False, "max_position_embeddings": 2048,
        },
    ),
    "OPT-6.7B": Released(
        "facebook/opt-6.7b", "opt", 6.66,
        {
            "vocab_size": 50272, "max_position_embeddings": 2048, "hidden_size": 4096, "word_embed_proj_dim": 4096,
            "ffn_dim": 16384, "num_hidden_layers": 32, "num_attention_heads": 32, "do_layer_norm_before": True,
        },
        "opt",
    ),
    "Gemma-2-2B": Released(
        "google/gemma-2-2b", "gemma2", 2.61,
        {
            **GEMMA_2, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4,
        },
        "gemma",
    ),
    "Gemma-2-9B": Released(
        "google/gemma-2-9b", "gemma2", 9.24,
        {
            **GEMMA_2, "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42,
            "num_attention_heads": 16, "num_key_value_heads": 8,
        },
        "gemma",
    ),
    "Qwen2.5-7B": Released(
        "Qwen/Qwen2.5-7B", "qwen2", 7.62,
        {
            "vocab_size": 152064, "max_position_embeddings": 131072, "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        "qwen",
    ),
}  # fmt: skip
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
