"""Errors that TransformerLens, transformers and torch raise while a model is taken over, translated into ours."""

from typing import Any

from site_lens.records.errors import ModelError
from site_lens.records.library_errors import translated_errors


def hooking_errors(name: str, architecture: str) -> Any:
    """Turn errors raised while a model is taken over, or runs for the first time, into a ModelError."""
    return translated_errors(
        lambda reason: ModelError(f"TransformerLens cannot hook {name} ({architecture}): {reason}")
    )
