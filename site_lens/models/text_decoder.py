"""The text decoder inside a Hugging Face model that sees images, too, such as Gemma 3: prompts here are text alone."""

from typing import Any

from site_lens.core.errors import ModelError


def sees_more_than_text(config: Any) -> bool:
    """Say whether a config has parts beside that of its text decoder."""
    return config.get_text_config() is not config


def text_decoder(hf_model: Any) -> Any:
    """Return a causal language model of the decoder and unembedding of a model; the model itself if it has no more.

    It computes what the whole computes on text. Its weights are the whole's own, not copies; what sees is left out.

    Raises:
        ModelError: There is no class for the decoder alone, or it does not stand where it usually does.
    """
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    config = hf_model.config.get_text_config()
    if not sees_more_than_text(hf_model.config):
        return hf_model
    inner = getattr(getattr(hf_model, "model", None), "language_model", None)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or inner is None:
        raise ModelError(f"cannot take the text decoder out of a {type(hf_model).__name__}")
    with torch.device("meta"):
        alone = AutoModelForCausalLM.from_config(config)
    if type(alone.model) is not type(inner):
        raise ModelError(f"the text decoder of a {type(hf_model).__name__} is no {type(alone.model).__name__}")
    alone.model, alone.lm_head = inner, hf_model.lm_head
    for name in ("quantization_config", "name_or_path", "_name_or_path"):
        if hasattr(hf_model.config, name):
            setattr(config, name, getattr(hf_model.config, name))
    return alone
