"""The context of a model: how many tokens a prompt may have, from its config."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHANGING = ("longrope", "su", "dynamic")
"""Rotary positions whose frequencies, those of all tokens, depend on how long the longest prompt of a call is."""


WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "attention_window_size")
"""Fields of configs that hold the width of local attention (Mistral, GPT-Neo, Llama 4, RecurrentGemma)."""


@dataclass(frozen=True, slots=True)
class Context:
    """Context length: the number of tokens that a prompt may have."""

    n_ctx: int
    why: str = ""
    """Why it is less than the config says."""
    stretched_from: int | None = None
    """Tokens that the positions were first trained on, where they were stretched to more."""

    @classmethod
    def of(cls, config: Any, n_ctx: int) -> "Context":
        """Read it from a Hugging Face config; None where there is none.

        Up to the length at which the frequencies change, they are constant. Beyond it a short prompt would not give in
        a batch what it gives alone, and keys of a cache would be of other frequencies than what comes behind them.

        Args:
            config: The config.
            n_ctx: The context that it names.
        """
        text = None if config is None else config.get_text_config()
        settings = list(_rotary(text))
        starts = [int(start) for one in settings if (start := _original(one, text))]
        switches = [_switch(one, text) for one in settings if _kind(one) in CHANGING]
        limit = min([n_ctx, *switches])
        kinds = ", ".join(sorted({_kind(one) for one in settings if _kind(one) in CHANGING}))
        why = f"{kinds}: past that, the rotary frequencies of all tokens change with the longest prompt of a call"
        return cls(limit, why if switches else "", min([s for s in starts if s < limit], default=None))


def _rotary(text: Any) -> Iterator[dict[str, Any]]:
    """Settings of rotary positions: of all layers, or of each kind of layer."""
    found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    if isinstance(found, dict):
        parts = [part for part in found.values() if isinstance(part, dict)]
        yield from parts or [found]


def _kind(settings: dict[str, Any]) -> str:
    return str(settings.get("rope_type", settings.get("type", "default")))


def _original(settings: dict[str, Any], text: Any) -> int | None:
    if _kind(settings) in ("default", "linear", "dynamic"):
        return None
    found: int | None = settings.get("original_max_position_embeddings")
    return found or getattr(text, "original_max_position_embeddings", None)


def _switch(settings: dict[str, Any], text: Any) -> int:
    return int(_original(settings, text) or text.max_position_embeddings)


def attention_window(config: Any) -> int:
    """Return how many tokens the widest window of local attention of a Hugging Face config has; 0 without one."""
    text = config.get_text_config()
    return max(size for name in WINDOWS if isinstance(size := getattr(text, name, None) or 0, int))
