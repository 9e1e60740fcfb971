"""The text decoder inside a Hugging Face model that sees images, too, such as Gemma 3: prompts here are text alone."""

from typing import Any

import torch

from site_lens.records.errors import ModelError


def sees_more_than_text(config: Any) -> bool:
    """Say whether a config has parts beside that of its text decoder."""
    return config.get_text_config() is not config


def text_decoder(hf_model: Any) -> Any:
    """Return a causal language model of the decoder and unembedding of a model; the model itself if it has no more.

    It computes what the whole computes on text. Its weights are the whole's own, not copies; what sees is left out.

    Raises:
        ModelError: There is no class for the decoder alone, or the model has none of that class inside.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    config = hf_model.config.get_text_config()
    if not sees_more_than_text(hf_model.config):
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
