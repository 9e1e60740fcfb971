"""Sizes: between which numbers every count that a user gives must lie, in one place.

The upper bounds are far above what anybody needs and far below what eats a machine: a slip of the keyboard ends in one
line before any work.
"""

from typing import Any

from pydantic import Field

from site_lens.records.errors import InputError

BOUNDS: dict[str, tuple[int, int]] = {
    "n_steps": (1, 100_000),
    "n_prompts": (1, 10_000),
    "n_shots": (1, 10_000),
    "n_sets": (0, 10_000),
    "n_eval_shots": (1, 10_000),
    "batch_size": (1, 10_000),
    "n_queries": (1, 1_000_000),
    "max_queries": (1, 1_000_000),
    "n_valid": (1, 1_000_000),
    "eval_every": (1, 100_000),
    "patience": (1, 100_000),
    "seed": (0, 2**63 - 1),
    "n_seeds": (1, 10_000),
    "tasks_at_once": (1, 10_000),
    "n_tasks": (1, 100_000),
    "n_attention_heads": (0, 10_000),
    "budget_bytes": (1, 2**50),
    "n_random": (1, 10_000),
    "n_draws": (1, 10_000),
    "n_fits": (3, 10_000),
    "n_starts": (1, 1_000),
    "n_nulls": (0, 10_000),
    "max_lines": (1, 1_000_000),
    "n_resamples": (2, 10_000),
    "n_fit_seeds": (2, 10_000),
    "n_top": (1, 1_000_000),
    "n_others": (0, 10_000),
    "max_tokens": (4, 100_000),
    "max_new_tokens": (1, 100_000),
    "longest": (1, 1_000_000),
    "labelled_rows": (14, 1_000_000),
    "n_heads": (1, 1_000_000),
    "n_masks": (2, 100_000),
    "rank": (1, 10_000),
}
"""The least and the most of every count, by the name of its argument."""

MOST_ASKED = 100_000_000
"""Training queries of one fit, n_steps times batch_size: what it records of them takes four bytes each."""


def size(name: str, default: int | None) -> Any:
    """Return the field of a count in a record: its default, and its bounds."""
    least, most = BOUNDS[name]
    return Field(default, ge=least, le=most)


def check_sizes(**given: int | None) -> None:
    """Raise InputError unless every count is a whole number within its bounds; None passes: it says all, or none."""
    for name, value in given.items():
        least, most = BOUNDS[name]
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(type(value), "__index__"):
            raise InputError(f"{name} must be a whole number, got {value!r:.80}")
        if not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most}"
            raise InputError(f"{name} must be {bound}, got {value!r:.80}")
