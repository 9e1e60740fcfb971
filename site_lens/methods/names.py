"""Evaluated methods: kind, demonstrations and seed as fields, and their display names."""

import re
from collections.abc import Sequence
from typing import Self

from pydantic import Field

from site_lens.records.base import Frozen

PROMPTING = "prompting"
"""Kind of plain prompting, with or without demonstrations."""
CALIBRATED = "calibrated"
"""Kind of few-shot prompting with contextual calibration."""
SHOT_WORDS = {0: "zero", 1: "one", 5: "five", 10: "ten"}


def few_shot_name(n_shots: int) -> str:
    """Return the name of prompting with so many demonstrations: `zero_shot`, `ten_shot`, `3_shot`."""
    return f"{SHOT_WORDS.get(n_shots, n_shots)}_shot"


def shots_of(name: str) -> int | None:
    """Return the number of demonstrations in a name of `few_shot_name`; None for any other name."""
    words = {few_shot_name(n_shots): n_shots for n_shots in SHOT_WORDS}
    match = re.fullmatch(r"(0|[1-9]\d{0,8})_shot", name)
    return words.get(name, None if match is None else int(match[1]))


def split_seed(name: str) -> tuple[str, int | None]:
    """Split the seed off a display name: `site#1_hard` is `site_hard` of seed 1; None where the name has no seed."""
    match = re.fullmatch(r"(?P<name>.+)#(?P<seed>\d{1,18})(?P<variant>_.*)?", name)
    if match is None:
        return name, None
    return match["name"] + (match["variant"] or ""), int(match["seed"])


class EvaluatedMethod(Frozen):
    """One method of an evaluation."""

    kind: str = Field(min_length=1)
    """`prompting`, `calibrated`, `site`, `site_hard`, or the name of a control, a baseline or a method of your own."""
    n_shots: int | None = Field(ge=0)
    """Demonstrations in its prompts; None in files of site_lens 0.1 for what is no prompting."""
    seed: int | None = Field(None, ge=0)
    """Seed of its fit; None for what is not fitted, and in files of site_lens 0.1 for the lowest seed."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse a display name, the only source of the seed and the number of demonstrations in old files."""
        plain, seed = split_seed(name)
        prompted = plain.removeprefix(f"{CALIBRATED}_")
        n_shots = shots_of(prompted)
        if n_shots is None:
            return cls(kind=plain, n_shots=None, seed=seed)
        return cls(kind=PROMPTING if prompted == plain else CALIBRATED, n_shots=n_shots, seed=seed)

    @property
    def name(self) -> str:
        """The display name without the seed."""
        shots = few_shot_name(self.n_shots or 0)
        return {PROMPTING: shots, CALIBRATED: f"{CALIBRATED}_{shots}"}.get(self.kind, self.kind)


def display_names(methods: Sequence[EvaluatedMethod]) -> tuple[str, ...]:
    """Return the display names of methods: the lowest seed has none in its name, seed 1 is `site#1_hard`.

    `site` and its binary ways are one fit: what has no seed in its name is of one seed.
    """
    parts = [_base_and_variant(method.name) for method in methods]
    seeds = [-1 if method.seed is None else method.seed for method in methods]
    lowest: dict[str, int] = {}
    for (base, _), seed in zip(parts, seeds, strict=True):
        lowest[base] = min(seed, lowest.get(base, seed))
    return tuple(
        base + variant if seed == lowest[base] else f"{base}#{seed}{variant}"
        for (base, variant), seed in zip(parts, seeds, strict=True)
    )


def _base_and_variant(name: str) -> tuple[str, str]:
    return ("site", name.removeprefix("site")) if name in ("site_hard", "site_top_k") else (name, "")
