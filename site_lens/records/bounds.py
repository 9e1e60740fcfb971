"""Sizes: between which numbers every count that a user gives must lie, in one place.

The upper bounds are far above what anybody needs and far below what eats a machine: a slip of the keyboard ends in one
line before any work.
"""

from typing import Any

from pydantic import Field

from site_lens.records.errors import InputError

_NAMES: dict[tuple[int, int], str] = {
    (0, 10_000): "n_sets n_attention_heads n_nulls n_others",
    (1, 1_000): "n_starts",
    (1, 10_000): "n_prompts n_shots n_eval_shots batch_size n_seeds tasks_at_once n_random n_draws rank",
    (1, 100_000): "n_steps eval_every patience n_tasks max_new_tokens",
    (1, 1_000_000): "n_queries max_queries n_valid max_lines n_top longest n_heads",
    (1, 2**50): "budget_bytes",
    (0, 2**63 - 1): "seed",
    (2, 10_000): "n_resamples n_fit_seeds",
    (2, 100_000): "n_masks",
    (3, 10_000): "n_fits",
    (4, 100_000): "max_tokens",
    (14, 1_000_000): "labelled_rows",
}
BOUNDS = {name: bounds for bounds, names in _NAMES.items() for name in names.split()}
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
