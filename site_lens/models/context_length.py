"""The context of a model: how many tokens a prompt may have, from its config."""

from dataclasses import dataclass
from typing import Any

CHANGING = ("longrope", "su", "dynamic")
"""Rotary positions whose frequencies, those of all tokens, depend on how long the longest prompt of a call is."""
ORIGINAL = "original_max_position_embeddings"
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
        text: Any = None if config is None else config.get_text_config()
        found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
        starts, switches, kinds = [], [], set()
        # Settings of all layers, or of each kind of layer.
        for settings in [part for part in found.values() if isinstance(part, dict)] or [found]:
            kind = str(settings.get("rope_type", settings.get("type", "default")))
            names_start = kind not in ("default", "linear", "dynamic")
            original = settings.get(ORIGINAL) or getattr(text, ORIGINAL, None) if names_start else None
            if original:
                starts.append(int(original))
            if kind in CHANGING:
                kinds.add(kind)
                switches.append(int(original or text.max_position_embeddings))
        limit = min([n_ctx, *switches])
        names = ", ".join(sorted(kinds))
        why = f"{names}: past that, the rotary frequencies of all tokens change with the longest prompt of a call"
        return cls(limit, why if switches else "", min([s for s in starts if s < limit], default=None))


def attention_window(config: Any) -> int:
    """Return how many tokens the widest window of local attention of a Hugging Face config has; 0 without one."""
    text = config.get_text_config()
    return max(size for name in WINDOWS if isinstance(size := getattr(text, name, None) or 0, int))
