"""A hooked model gives the logits of plain transformers, or is refused, or the card says why it was not compared."""

import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL
from site_lens.records.errors import AdapterError
from tests.tiny_models import random_model

TOKENIZER = AutoTokenizer.from_pretrained(DEMO_MODEL)
TOKENS = {"vocab_size": len(TOKENIZER), "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
SIZE: dict[str, Any] = TOKENS | {
    "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "max_position_embeddings": 128,
    "initializer_range": 0.2,
}  # fmt: skip
LLAMA: dict[str, Any] = SIZE | {"intermediate_size": 64, "num_key_value_heads": 2}
GPT2: dict[str, Any] = TOKENS | {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 128, "initializer_range": 0.2}


def rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **settings}}


LONGROPE = rope(
    "longrope", factor=2.0, original_max_position_embeddings=64,
    short_factor=[1.0] * 4, long_factor=[2.0, 3.0, 4.0, 5.0],
)  # fmt: skip
DEVIATING: dict[str, Callable[[], Any]] = {
    "ALiBi of Falcon": lambda: transformers.FalconConfig(**SIZE, multi_query=True, alibi=True),
    "unscaled GPT-2": lambda: transformers.GPT2Config(**GPT2, scale_attn_weights=False),
}
SOUND: dict[str, Callable[[], Any]] = {
    "scores divided by the layer": lambda: transformers.GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True),
    "ALiBi of six heads": lambda: transformers.BloomConfig(
        **TOKENS, n_layer=2, n_head=6, hidden_size=48, initializer_range=0.2
    ),
    "ALiBi of MPT": lambda: transformers.MptConfig(
        vocab_size=len(TOKENIZER), d_model=32, n_heads=4, n_layers=2, max_seq_len=128, initializer_range=0.2
    ),
    "four multipliers": lambda: transformers.GraniteConfig(
        **LLAMA, embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5, attention_multiplier=0.7
    ),
    "scaled logits, parallel residual": lambda: transformers.CohereConfig(**LLAMA, logit_scale=0.3),
    "bias of the unembedding": lambda: transformers.GPTJConfig(**GPT2, rotary_dim=4),
    "rotary: yarn": lambda: transformers.LlamaConfig(
        **LLAMA, **rope("yarn", factor=4.0, original_max_position_embeddings=32)
    ),
}


def wrap(hf_model: Any, **options: Any) -> LensModel:
    return sl.wrap_model(hf_model, tokenizer=TOKENIZER, **options)


def prompt(length: int) -> list[int]:
    return [(11 * i + 3) % 199 for i in range(length)]


def logits_of(model: LensModel, *prompts: list[int]) -> torch.Tensor:
    return model.forward(Batch.of(prompts, pad=0, device=model.device))


@torch.no_grad()
def plain(hf_model: Any, ids: list[int]) -> torch.Tensor:
    found: torch.Tensor = hf_model.eval()(torch.tensor([ids])).logits[0, -1].float()
    return found


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.std())


DEVIATING_UNDER_3 = ("ALiBi of MPT", "scaled logits, parallel residual")
"""Settings that TransformerLens honours from version 4 on."""


def test_settings_that_transformerlens_honours_pass() -> None:
    for kind, config in SOUND.items():
        if kind in DEVIATING_UNDER_3 and version("transformer-lens").startswith("3."):
            with pytest.raises(sl.ModelError):
                wrap(random_model(config()))
            continue
        untouched, model = random_model(config()), wrap(random_model(config()))
        assert gap(logits_of(model, prompt(50))[0], plain(untouched, prompt(50))) < 1e-5, kind


def test_a_model_that_transformerlens_computes_otherwise_is_refused_with_the_gap() -> None:
    for config in DEVIATING.values():
        for dtype in (torch.float32, torch.bfloat16):
            with pytest.raises(sl.ModelError, match="same_as_transformers"):
                wrap(random_model(config()).to(dtype))


def test_adapters_are_refused_by_name_until_they_are_merged() -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)  # fused queries, keys, values
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # which peft still asks for
        torch.manual_seed(1)
        model = peft.get_peft_model(random_model(transformers.GPT2Config(**GPT2)), settings)
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # which begins where nothing is changed
                torch.nn.init.normal_(weight, std=0.3)
    inner = model.get_base_model()
    for handed in (model, inner):
        with pytest.raises(AdapterError, match=r"\.merge_and_unload\(\)"):
            wrap(handed)
    expected = plain(inner, prompt(20))
    merged = wrap(model.merge_and_unload())  # which the refusals left whole
    assert gap(logits_of(merged, prompt(20))[0], expected) < 1e-4


@pytest.mark.parametrize(("settings", "switch"), [(LONGROPE, 64), (rope("dynamic", factor=2.0), 128)])
def test_a_prompt_gives_what_it_gives_alone_up_to_the_switch_of_rotary_frequencies_and_is_refused_beyond(
    settings: dict[str, Any], switch: int
) -> None:
    config = transformers.LlamaConfig(**LLAMA, **settings)
    untouched, model = random_model(config), wrap(random_model(config))
    for length in (switch - 1, switch):
        batch = Batch.of([prompt(5), prompt(length)], pad=0, device=model.device)
        for row, alone in zip(model.forward(batch), (prompt(5), prompt(length)), strict=True):
            assert gap(row, plain(untouched, alone)) < 1e-5
        cached, _ = model.decode(model.prefill(batch.without_tail(1)), batch.tokens[:, -1:])
        assert gap(cached[1, -1], plain(untouched, prompt(length))) < 1e-5
    too_long = Batch.of([prompt(5), prompt(switch + 1)], pad=0, device=model.device)
    full = model.prefill(too_long.without_tail(1))
    room = switch - len(model.encoder.encode(["Q: hot\nA:"])[0])
    assert sl.generate(model, ["Q: hot\nA:"], max_new_tokens=room, stop_at="\0")
    for call in (
        lambda: model.forward(too_long),
        lambda: model.prefill(too_long),
        lambda: model.decode(full, too_long.tokens[:, -1:]),
        lambda: sl.generate(model, ["Q: hot\nA:"], max_new_tokens=room + 1, stop_at="\0"),
    ):
        with pytest.raises(sl.InputError, match="rotary frequencies"):
            call()
