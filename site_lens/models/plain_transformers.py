"""Plain transformers models: the text decoder inside them, and the logits that a hooked model must equal."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.records.errors import AdapterError, InputError, ModelError
from site_lens.records.library_errors import translated_errors

KnownLogits = dict[tuple[int, ...], Tensor]
"""Logits (vocab) at the last token of prompts, as plain transformers computed them."""


def config_of(host: Any) -> Any:
    """Return the config of the transformers model under a TransformerLens model; None where there is none."""
    return getattr(getattr(host, "original_model", None), "config", None)


def is_multimodal(config: Any) -> bool:
    """Tell whether a config has parts beside that of its text decoder."""
    return config.get_text_config() is not config


def refuse_unless_decoder(config: Any, name: str) -> None:
    """Check that a config is that of a causal language model, or of one that takes more than text.

    Raises:
        InputError: It is not, or its weights are those of another head.
    """
    import transformers as hf

    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    text = type(config.get_text_config())
    known = type(config) in hf.MODEL_FOR_CAUSAL_LM_MAPPING or (
        type(config) in hf.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and text in hf.MODEL_FOR_CAUSAL_LM_MAPPING
    )
    # Models of masked language, such as BERT, see later tokens unless their config says that they are decoders.
    sees_ahead = type(config) in hf.MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", True) is False
    if getattr(config, "is_encoder_decoder", False) or sees_ahead or not (known or own_code):
        raise InputError(f"{name!r} is no decoder of text (model type {config.model_type}); only those are supported")
    for architecture in config.architectures or ():
        cls = getattr(hf, architecture, None)
        if cls is not None and "For" in architecture and not cls.can_generate():
            raise InputError(
                f"{name!r} is a {architecture}, which predicts no next token; give the language model it was made from"
            )


def refuse_adapters(model: Any, name: str) -> None:
    """Check that a model in memory has no PEFT adapter.

    TransformerBridge takes the base weights of what it splits (GPT-2's c_attn, Phi-3's qkv_proj and gate_up_proj), and
    an adapter there would be dropped; code that reads weights would leave it out everywhere.

    Raises:
        AdapterError: There is one.
    """
    adapters = [(path, kind) for path, module in model.named_modules() if (kind := _kind_of_adapter(module))]
    if adapters:
        (path, kind), *others = adapters
        raise AdapterError(
            f"{name} has an adapter that is not merged ({kind} in {path}{f' and {len(others)} more' if others else ''}"
            "), which hooks leave out; give what peft's .merge_and_unload() returns (prompt and prefix tuning cannot "
            "be merged: they are not supported)"
        )


def _kind_of_adapter(module: Any) -> str:
    """Return the kind of a module of PEFT's, such as lora; nothing for others, and wrappers of whole models."""
    places = [cls.__module__.split(".") for cls in type(module).__mro__]
    return next((place[-2] for place in places if place[0] == "peft" and not hasattr(module, "peft_config")), "")


def text_decoder(hf_model: Any) -> Any:
    """Return the causal language model inside a multimodal model such as Gemma 3; other models come back as they are.

    It computes what the whole computes on text. Its weights are the whole's own, not copies.

    Raises:
        ModelError: There is no class for the decoder alone, or the model has none of that class inside.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    config = hf_model.config.get_text_config()
    if not is_multimodal(hf_model.config):
        return hf_model
    whole = type(hf_model).__name__
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(f"cannot take the text decoder out of a {whole}: transformers has no class for it alone")
    with torch.device("meta"):
        alone = AutoModelForCausalLM.from_config(config)
    inside = {type(module): module for module in hf_model.modules()}
    if type(alone) in inside:
        alone = inside[type(alone)]
    elif type(alone.base_model) in inside:
        setattr(alone, alone.base_model_prefix, inside[type(alone.base_model)])
        alone.set_output_embeddings(hf_model.get_output_embeddings())
    else:
        raise ModelError(f"cannot take the text decoder out of a {whole}: it has no {type(alone.base_model).__name__}")
    for name in ("quantization_config", "name_or_path", "_name_or_path"):
        if hasattr(hf_model.config, name):
            setattr(config, name, getattr(hf_model.config, name))
    return alone


@torch.no_grad()
def plain_logits(hf_model: Any, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
    """Return the logits at the last token of a prompt as transformers alone computes them, float32.

    The model is in eval mode and attends in eager mode, as it does under a bridge: in bfloat16 the fused functions
    round otherwise, which moves logits by up to .065 of their standard deviation.

    Raises:
        ModelError: transformers cannot run the model.
    """
    tokens = torch.tensor([list(prompt)], device=next(hf_model.parameters()).device)
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(hf_model.forward).parameters else {}
    failed = f"transformers cannot run this {type(hf_model).__name__}"
    with translated_errors(lambda reason: ModelError(f"{failed}: {reason}")):
        try:
            output = hf_model(tokens, **last)
        except RuntimeError:  # only eager attention needs as many key-value heads as the config says (DeepSeek)
            hf_model.set_attn_implementation("sdpa")
            try:
                output = hf_model(tokens, **last)
            finally:
                hf_model.set_attn_implementation("eager")
    logits: Tensor = output.logits[0, -1].float()
    return logits


@contextmanager
def original_modules(hf_model: Any) -> Iterator[Any]:
    """Put the modules that a TransformerBridge replaced back in place for as long as the context lasts."""
    replaced = [
        (parent._modules, name, child, child.original_component)
        for parent in hf_model.modules()
        for name, child in parent._modules.items()
        if getattr(child, "original_component", None) is not None
    ]
    with swapped(replaced):
        yield hf_model


@contextmanager
def swapped(places: Sequence[tuple[dict[str, Any], str, Any, Any]]) -> Iterator[None]:
    """Swap modules for as long as the context lasts.

    Args:
        places: Submodules of a module by name, a name, the module that is there, and the one to put there.
    """
    try:
        for modules, name, _, wanted in places:
            modules[name] = wanted
        yield
    finally:
        for modules, name, module, _ in places:
            modules[name] = module
