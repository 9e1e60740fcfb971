"""The recipe of the demo model: every number that decides what a training run gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.demo_model.mixture import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run gives, apart from the machine's arithmetic."""

    n_steps: int = 7000
    seed: int = 0
    n_layers: int = 6
    d_model: int = 192
    d_mlp: int = 512
    n_heads: int = 8
    n_key_value_heads: int = 4
    d_head: int = 32
    batch: Mapping[Kind, int] = field(
        default_factory=lambda: {"short": 10, "medium": 10, "long": 6, "mapping": 8, "repeat": 8}
    )
    """Sequences of each kind a step."""
    late_from: int = 2800
    """Step from which the sequences of a step are those of `late_batch`."""
    late_batch: Mapping[Kind, int] = field(
        default_factory=lambda: {"short": 8, "medium": 12, "long": 6, "mapping": 11, "repeat": 2}
    )
    """Sequences of each kind a step once repeats are answered without fault: what is learned last gets their place."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    n_warmup: int = 150
    """Steps over which the learning rate rises."""
    final_rate: float = 0.03
    """Learning rate at the end, as a share of the highest."""
    fall_share: float = 0.2
    """Share of the steps, the last ones, over which the learning rate falls."""
    n_early: int = 400
    """Steps at the beginning in which long lists give their place to mappings and repeats."""
    mixed_mask: bool = False
    """In half of the batches of rules, let queries attend to their own example alone."""


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: a linear rise, a long level part, and a linear fall.

    Until the fall begins it does not depend on the number of steps, so a run can be stopped and made longer or shorter.
    """
    n_fall = max(1, round(recipe.fall_share * recipe.n_steps))
    left = min(1.0, (recipe.n_steps - step) / n_fall)
    rise = min(1.0, (step + 1) / recipe.n_warmup)
    return recipe.learning_rate * rise * (recipe.final_rate + (1 - recipe.final_rate) * left)
