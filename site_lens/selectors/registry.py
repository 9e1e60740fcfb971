"""Registry of selectors: what each score means, its source, and the function that computes it.

A new selector is one file and one entry here. Functions are named by "module:function" and imported when they are used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeAlias

from site_lens.heads.scores import HeadScores, ScoresByTask
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


MICHEL = "Michel, Levy and Neubig, arXiv 1905.10650"
NAM = "Nam et al., arXiv 2505.13737"
SELECTORS: dict[str, Selector] = {
    "site": Selector("site_alpha:site_alpha", True, "Park and Rhee, arXiv 2507.20906"),
    "site_path": Selector("site_alpha:site_path", True, "Park and Rhee, arXiv 2507.20906, under a price per head"),
    "indirect_effect": Selector("indirect_effect:indirect_effect", True, "Todd et al., arXiv 2310.15213"),
    "attribution_patching": Selector(
        "attribution:attribution_patching", True, "Nanda 2023; Kramar et al., arXiv 2403.00745"
    ),
    "gim": Selector("attribution:gim", True, "GIM: Edin et al., arXiv 2505.17630"),
    "relp": Selector("attribution:relp", True, "RelP: Rezaei Jafari et al., arXiv 2508.21258"),
    "zero_ablation": Selector("ablation:zero_ablation", True, f"{MICHEL}, section 3"),
    "mean_ablation": Selector("ablation:mean_ablation", True, "Wang et al., arXiv 2211.00593"),
    "gradient_importance": Selector("attribution:gradient_importance", True, f"{MICHEL}, eq. 2"),
    "hard_concrete": Selector(
        "learned_gates:hard_concrete", True, "Louizos et al., arXiv 1712.01312; Voita et al., 1905.09418"
    ),
    "bernoulli_masks": Selector("bernoulli_masks:bernoulli_masks", True, "Huang et al., arXiv 2406.15334"),
    "compressed_sensing": Selector(
        "compressed_sensing:compressed_sensing", True, "after Bair et al., arXiv 2603.03335 (compressed sensing)"
    ),
    "causal_head_gating": Selector("causal_head_gating:causal_head_gating", True, NAM),
    "causal_head_gating_last": Selector("causal_head_gating:causal_head_gating_last", True, f"{NAM}; last token only"),
    "head_weights": Selector("learned_gates:head_weights", True, "Saglam et al., arXiv 2502.05390"),
    "induction": Selector("attention_scores:induction", False, "Olsson et al., arXiv 2209.11895"),
    "previous_token": Selector("attention_scores:previous_token", False, "Elhage et al. 2021"),
    "duplicate_token": Selector("attention_scores:duplicate_token", False, "Wang et al., arXiv 2211.00593"),
    "random": Selector("random_scores:random_scores", False),
    "random_layer_matched": Selector("random_scores:layer_matched", False),
}
"""Every selector by its name."""


def registered_scores(context: "ComparisonContext", selector: str) -> ScoresByTask:
    """Score the heads with a selector of the registry, once on each context."""
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS)
    return SELECTORS[selector].scores(context)
