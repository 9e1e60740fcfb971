"""Registry of selectors: what each score means, its source, and the function that computes it.

A new selector is one file and one entry of `assets/selectors.toml`. Functions are named by "module:function" and
imported when they are used.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeAlias

from site_lens.heads.scores import HeadScores, ScoresByTask
from site_lens.records.assets import asset
from site_lens.records.errors import unknown_name

if TYPE_CHECKING:
    from site_lens.selectors.context import ComparisonContext

ScoreFunction: TypeAlias = Callable[["ComparisonContext"], Mapping[str, HeadScores]]
"""Score the heads for every task of a comparison context."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A way to score heads."""

    score: str | ScoreFunction
    """The function, or its "module:function" in this folder."""
    causal: bool
    """Whether the score measures or estimates an effect of the head on the answer."""
    reference: str = ""

    def scores(self, context: "ComparisonContext") -> ScoresByTask:
        """Score the heads for every task of a context."""
        function: ScoreFunction = (
            resolve_name(f"{__package__}.{self.score}") if isinstance(self.score, str) else self.score
        )
        return ScoresByTask(function(context).values())


SELECTORS = {name: Selector(**entry) for name, entry in tomllib.loads(asset("selectors.toml")).items()}
"""Every selector by its name."""


def registered_scores(context: "ComparisonContext", selector: str) -> ScoresByTask:
    """Score the heads with a selector of the registry, once on each context."""
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS)
    return SELECTORS[selector].scores(context)
