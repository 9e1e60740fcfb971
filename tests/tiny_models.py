"""Checkpoints of tiny random models: one for each architecture that the tests know, and small copies of real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.real_configs import RELEASED, shrunken_config
from tests.tiny_tokenizers import tiny_tokenizer

ARCHITECTURES = (
    "gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3", "phi", "opt", "falcon",
    "bloom", "deepseek_v2", "deepseek_v3",
)  # fmt: skip
"""Architectures that must work through TransformerBridge."""


def tiny_config(kind: str, *, vocab_size: int, n_ctx: int = 128) -> Any:
    """Return a config of two layers of four heads, with dropout where the architecture has any."""
    import transformers as hf

    # Ten times the usual spread of weights: logits of a small random model would otherwise hardly differ at all.
    tokens: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    size = tokens | {
        "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64,
        "max_position_embeddings": n_ctx, "initializer_range": 0.2,
    }  # fmt: skip
    grouped = size | {"num_key_value_heads": 2}
    window = {"sliding_window": 8}
    latent = {
        "kv_lora_rank": 12, "q_lora_rank": None, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12,
        "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    }  # fmt: skip
    configs: dict[str, Callable[[], Any]] = {
        "gpt2": lambda: hf.GPT2Config(
            **tokens, n_layer=2, n_head=4, n_embd=32, n_positions=n_ctx, initializer_range=0.2
        ),
        "gpt_neox": lambda: hf.GPTNeoXConfig(**size, attention_dropout=0.1, hidden_dropout=0.1),
        "llama": lambda: hf.LlamaConfig(**grouped),
        "qwen2": lambda: hf.Qwen2Config(**grouped),
        "qwen3": lambda: hf.Qwen3Config(**grouped, head_dim=12),
        "mistral": lambda: hf.MistralConfig(**grouped, **window),
        "mixtral": lambda: hf.MixtralConfig(**grouped, num_local_experts=4, sliding_window=None),
        "gemma2": lambda: hf.Gemma2Config(**grouped, **window, head_dim=8, query_pre_attn_scalar=8),
        "gemma3": lambda: hf.Gemma3TextConfig(
            **grouped, **window, head_dim=8, query_pre_attn_scalar=8,
            layer_types=["sliding_attention", "full_attention"],
        ),
        "phi": lambda: hf.PhiConfig(**size, resid_pdrop=0.1, partial_rotary_factor=0.5),
        "opt": lambda: hf.OPTConfig(
            **tokens, num_hidden_layers=2, num_attention_heads=4, hidden_size=32, word_embed_proj_dim=32, ffn_dim=64,
            max_position_embeddings=n_ctx, init_std=0.2,
        ),
        "falcon": lambda: hf.FalconConfig(
            **tokens, num_hidden_layers=2, num_attention_heads=4, hidden_size=32, max_position_embeddings=n_ctx,
            initializer_range=0.2, multi_query=True, attention_dropout=0.1,
        ),
        "bloom": lambda: hf.BloomConfig(
            **tokens, n_layer=2, n_head=4, hidden_size=32, seq_length=n_ctx, initializer_range=0.2, hidden_dropout=0.1
        ),
        "deepseek_v2": lambda: hf.DeepseekV2Config(**size, **latent, n_group=1, topk_group=1),
        "deepseek_v3": lambda: hf.DeepseekV3Config(**size, **latent, n_group=1, topk_group=1),
        "lfm2": lambda: hf.Lfm2Config(**grouped, layer_types=["conv", "full_attention"]),
        "qwen3_next": lambda: hf.Qwen3NextConfig(
            **grouped, head_dim=8, layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2,
            linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8, num_experts=4,
            num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16,
        ),
        "qwen3_5": lambda: hf.Qwen3_5TextConfig(
            **grouped, head_dim=8, layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2,
            linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
        ),
        "jamba": lambda: hf.JambaConfig(
            **grouped, attn_layer_period=2, attn_layer_offset=1, num_experts=2, use_mamba_kernels=False, mamba_d_state=4
        ),
        "granitemoehybrid": lambda: hf.GraniteMoeHybridConfig(
            **grouped, layer_types=["mamba", "attention"], mamba_n_heads=4, mamba_d_head=16, num_local_experts=2,
            num_experts_per_tok=1, shared_intermediate_size=16,
        ),
        "mamba": lambda: hf.MambaConfig(vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2),
        "falcon_h1": lambda: hf.FalconH1Config(
            **grouped, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_n_groups=1, mamba_d_state=8
        ),
        "gemma4": lambda: hf.Gemma4TextConfig(
            **grouped, **window, head_dim=8, global_head_dim=16, layer_types=["sliding_attention", "full_attention"],
            hidden_size_per_layer_input=0, vocab_size_per_layer_input=vocab_size,
        ),
        **_unhooked(tokens, size),
        **_multimodal(grouped),
    }  # fmt: skip
    return configs[kind]()


UNHOOKED = (
    "falcon-40b", "falcon-11b", "gpt_neox without biases", "gpt_bigcode multi-head", "phi with norms", "opt post-norm",
    "bart decoder", "gpt2 with cross-attention", "persimmon",
)  # fmt: skip
"""Settings on which TransformerLens raises one error or another."""


def _unhooked(tokens: dict[str, Any], size: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    import transformers as hf

    falcon = tokens | {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "num_kv_heads": 2}
    falcon |= {"new_decoder_architecture": True, "max_position_embeddings": size["max_position_embeddings"]}
    gpt = tokens | {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": size["max_position_embeddings"]}
    bart = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "is_decoder": True, "is_encoder_decoder": False}
    return {
        "falcon-40b": lambda: hf.FalconConfig(**falcon),
        "falcon-11b": lambda: hf.FalconConfig(**falcon, num_ln_in_parallel_attn=1),
        "gpt_neox without biases": lambda: hf.GPTNeoXConfig(**size, attention_bias=False),
        "gpt_bigcode multi-head": lambda: hf.GPTBigCodeConfig(**gpt, multi_query=False),
        "phi with norms": lambda: hf.PhiConfig(**size, qk_layernorm=True),
        "opt post-norm": lambda: hf.OPTConfig(
            **tokens, num_hidden_layers=2, num_attention_heads=4, hidden_size=32, ffn_dim=64, word_embed_proj_dim=32,
            max_position_embeddings=size["max_position_embeddings"], do_layer_norm_before=False,
        ),
        "bart decoder": lambda: hf.BartConfig(**tokens, **bart),
        "gpt2 with cross-attention": lambda: hf.GPT2Config(**gpt, add_cross_attention=True),
        "persimmon": lambda: hf.PersimmonConfig(**size),
    }  # fmt: skip


MULTIMODAL = ("mistral3", "llava", "llama4")
"""Models that see images, too, whose text decoder is hooked; Gemma 3 is among the released models."""


def _multimodal(grouped: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    import transformers as hf

    eye = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    experts = {
        "head_dim": 8, "intermediate_size_mlp": 64, "num_local_experts": 2, "moe_layers": [1], "no_rope_layers": [1, 0],
        "attention_chunk_size": 64,
    }  # fmt: skip
    outputs = {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}
    return {
        "mistral3": lambda: hf.Mistral3Config(
            text_config=grouped | {"model_type": "mistral", "head_dim": 8},
            vision_config=eye | {"model_type": "pixtral", "head_dim": 8},
        ),
        "llava": lambda: hf.LlavaConfig(
            text_config=grouped | {"model_type": "llama"},
            vision_config=eye | {"model_type": "clip_vision_model", "projection_dim": 16}, image_token_index=5,
        ),
        "llama4": lambda: hf.Llama4Config(
            text_config=grouped | experts, vision_config=eye | outputs | {"pixel_shuffle_ratio": 0.5}
        ),
        "aya_vision": lambda: hf.AyaVisionConfig(
            text_config=grouped | {"model_type": "cohere2"},
            vision_config=eye | {"model_type": "siglip_vision_model", "vision_use_head": False},
        ),
        "qwen2_vl": lambda: hf.Qwen2VLConfig(
            text_config=grouped | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
            vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 14},
        ),
    }  # fmt: skip


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
