"""Weights in four or eight bits: loading them through bitsandbytes, and what a model says of its own."""

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from site_lens.records.errors import InputError, ModelError

Quantization = Literal["nf4", "int8"]

SPLIT = ("c_attn", "query_key_value", "qkv_proj", "gate_up_proj", "Wqkv", "W_pack", "wqkv")
"""Projections that TransformerBridge splits into their parts (queries, keys and values; gate and up), which packed
numbers do not allow."""
KEPT = ("lm_head", "embed_out", *SPLIT)
"""Modules that stay in floating point: unembeddings, as everywhere, and what is split."""


def bitsandbytes_settings(how: Quantization, dtype: torch.dtype) -> Any:
    """Say to `transformers` how to quantise the linear maps of a model as they come from disk.

    Args:
        how: "nf4": four bits, with the blocks' scales quantised in turn. "int8": eight bits, columns of inputs beyond 6
            in floating point.
        dtype: Number format of everything else, and of the arithmetic.

    Raises:
        InputError: bitsandbytes is not installed.

    Reference: Dettmers et al., arXiv 2305.14314 (NF4, double quantisation) and arXiv 2208.07339 (LLM.int8()).
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            f'quantization={how!r} needs bitsandbytes; install it with: pip install "site_lens[quantization]"'
        )
    from transformers import BitsAndBytesConfig

    if how == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(KEPT))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(KEPT),
    )


def _says_nothing_new(record: logging.LogRecord) -> bool:
    """Drop what int8 says at every product of every step: that it rounds its inputs to float16, as it always does."""
    return "inputs will be cast" not in record.getMessage()


def quantization_of(config: Any) -> str | None:
    """Name how the weights of a Hugging Face config are quantised: nf4, fp4, int8, gptq, ...; None if they are not."""
    settings = getattr(config, "quantization_config", None)  # an object, or the dictionary of a config.json
    if settings is None:
        return None
    fields = settings if isinstance(settings, dict) else settings.to_dict()
    if fields.get("load_in_4bit"):
        return str(fields.get("bnb_4bit_quant_type", "fp4"))
    method = fields.get("quant_method")
    return "int8" if fields.get("load_in_8bit") else str(getattr(method, "value", method))


def refuse_unless_packed(hf_model: nn.Module) -> None:
    """Check that a model that calls itself quantised by bitsandbytes has any packed weights.

    Raises:
        ModelError: It has no linear maps that `transformers` knows how to quantise (Falcon), and is as large as before.
    """
    by_bitsandbytes = quantization_of(hf_model.config) in ("nf4", "fp4", "int8")
    if by_bitsandbytes and all(weight.is_floating_point() for weight in hf_model.parameters()):
        raise ModelError(
            f"transformers finds nothing to quantise in a {type(hf_model).__name__}; load it without quantization"
        )


def refuse_packed_parts(hf_model: nn.Module) -> None:
    """Check that what TransformerBridge splits is in floating point.

    Raises:
        ModelError: It is packed, as in GPT-2, Pythia, BLOOM and Phi-3 where nobody said that it should not be.
    """
    for name, module in hf_model.named_modules():
        packed = any(not weight.is_floating_point() for weight in module.parameters(recurse=False))
        if packed and name.rpartition(".")[2] in SPLIT:
            raise ModelError(
                f"{name} of this {type(hf_model).__name__} is quantised, and TransformerBridge splits it; load the "
                "model by load_model(..., quantization='nf4' or 'int8'), which leaves such projections as they are, or "
                f"with llm_int8_skip_modules={[*KEPT]} in BitsAndBytesConfig"
            )


def keep_gradients(model: nn.Module) -> None:
    """Make 4-bit layers on a CPU keep the weights that gradients can pass.

    On processors with AVX512-BF16 bitsandbytes packs the weights anew at the first call that needs no gradient, for a
    kernel that has none: every later gradient of alpha would be lost.

    Raises:
        ModelError: That has happened already.
    """
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_says_nothing_new)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            if getattr(getattr(module.weight, "quant_state", None), "packing_format_for_cpu", False):
                raise ModelError(
                    "the 4-bit weights of this model were packed for inference at its first call, and gradients do not "
                    "pass them any more; hand the model over before that, or use load_model(..., quantization='nf4')"
                )
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010  # no attribute that modules declare
