"""Errors that TransformerLens, transformers and torch raise, said in one line of ours; what is no decoder of text."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from site_lens.records.errors import InputError, ModelError, SiteLensError


@contextmanager
def said_by(refuse: Callable[[str], SiteLensError]) -> Iterator[None]:
    """Turn whatever other libraries raise into an error of ours, chained to theirs.

    Their code is run on configs and weights that it was never tried on, and may raise anything.

    Args:
        refuse: Makes the error from the reason, one line.
    """
    try:
        yield
    except SiteLensError:
        raise
    except Exception as error:
        raise refuse(reason_of(error)) from error


def hooking(name: str, architecture: str) -> Any:
    """Say what is raised while a model is taken over, or runs for the first time, as a ModelError."""
    return said_by(lambda reason: ModelError(f"TransformerLens cannot hook {name} ({architecture}): {reason}"))


def reason_of(error: Exception) -> str:
    """Return the line of an error that says what is wrong, with its type and place where it says little by itself."""
    lines = str(error).strip().splitlines()
    if isinstance(error, KeyError) or not lines:
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f" {lines[0]}" if lines else ""
        return f"{type(error).__name__}{said} in {place.name} of {Path(place.filename).name}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def refuse_unless_decoder(config: Any, name: str) -> None:
    """Check that a config is that of a causal language model, or of one that sees more than text.

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
        raise InputError(
            f"{name!r} is no decoder of text (model type {config.model_type}), which is what is needed here"
        )
    for architecture in config.architectures or ():
        cls = getattr(hf, architecture, None)
        if cls is not None and "For" in architecture and not cls.can_generate():
            raise InputError(
                f"{name!r} is a {architecture}, which predicts no next token; give the language model it was made from"
            )


def refuse_unless_head(hf_model: Any, name: str) -> None:
    """Check that a model in memory predicts tokens.

    Raises:
        InputError: It has no unembedding, as base models and classifiers.
    """
    if hf_model.get_output_embeddings() is None:
        raise InputError(
            f"{name!r} has no language-model head, as a {type(hf_model).__name__}; load it with AutoModelForCausalLM"
        )
