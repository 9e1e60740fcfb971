"""Gate parametrizations: how a free parameter becomes a gate in [0, 1], of any size, or open at random."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Gates: TypeAlias = Float[Tensor, "*map layer head"]
Maps: TypeAlias = Float[Tensor, "map layer head"]
OfMaps: TypeAlias = Float[Tensor, " map"]

UNIT_MARGIN = 0.01
"""A warm start is kept this far from 0 and 1, where the sigmoid has no slope to leave by."""

STRETCH_LOW, STRETCH_HIGH = -0.1, 1.1
"""Hard-concrete gates are stretched to this interval before they are cut to [0, 1] (Louizos et al. 2018, section 4)."""

TEMPERATURE = 2 / 3
"""Beta of hard-concrete gates (same)."""

FIRST_PRICE, PRICE_GROWTH = 15.0, 100.0
"""Nats that a density off by 1 costs at first, and how many times as many at the end: the loss chooses the heads first,
and at the end no loss is worth more than some thousandths of density. Fewer nats miss it, more from the start drown the
loss in Adam's normalised steps."""

LOGIT_LIMIT = 4.0
"""A logit costs nothing more beyond this size (4: the published code of causal head gating)."""

RAMP = 0.5
"""Share of the steps over which the target density falls from 1 to what was asked for."""


class GateParametrization(ABC):
    """Parametrization of gates: from what parameter they come, and what is added to the loss.

    Everything is done element by element, over any leading axes: the gates of a map depend on its own parameter and
    draws alone, so that a joint fit follows the path of separate ones.
    """

    margin: ClassVar[float] = 0.0
    """How far from 0 and 1 a warm start is kept."""
    stochastic: ClassVar[bool] = False
    """Whether the gates of a training step are sampled; if not, they are the deterministic ones."""

    @abstractmethod
    def raw(self, gates: Gates) -> Gates:
        """Return the parameter whose deterministic gates are `gates`."""

    @abstractmethod
    def deterministic(self, raw: Gates) -> Gates:
        """Return the gates that are evaluated, recorded and kept."""

    def sample(self, raw: Gates, uniform: Gates) -> Gates:
        """Return the gates of one training step, made of draws from [0, 1); differentiable in `raw`."""
        return self.deterministic(raw)

    def penalty(self, raw: Maps, progress: OfMaps, mask: Bool[Tensor, "layer head"]) -> OfMaps | None:
        """Return what is added to each map's loss, in nats; None where nothing ever is.

        Args:
            raw: The parameters.
            progress: Share of its steps that each map has taken.
            mask: Where the grid has heads.
        """
        return None


@dataclass(frozen=True, slots=True)
class Sigmoid(GateParametrization):
    """Gates in (0, 1): SITE's alpha.

    Reference: Park and Rhee, arXiv 2507.20906, section 3.
    """

    margin: ClassVar[float] = UNIT_MARGIN

    def raw(self, gates: Gates) -> Gates:
        """Return the logit of alpha."""
        return torch.logit(gates)

    def deterministic(self, raw: Gates) -> Gates:
        """Return alpha."""
        return torch.sigmoid(raw)


@dataclass(frozen=True, slots=True)
class PricedLogit(Sigmoid):
    """Sigmoid gates in (0, 1) whose logit has a price: nats per unit of its mean over heads, between two limits.

    A warm start is kept between these limits, so that every gate feels the price from its first step.

    Reference: Nam et al., arXiv 2505.13737 (clipped inverse sigmoid in the objective).
    """

    margin: ClassVar[float] = 0.02

    price: float
    """Above 0 it closes gates, below 0 it opens them."""

    def penalty(self, raw: Maps, progress: OfMaps, mask: Bool[Tensor, "layer head"]) -> OfMaps:
        """Return the price of the mean logit, each cut to the limits."""
        return self.price * raw.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)[:, mask].mean(-1)


@dataclass(frozen=True, slots=True)
class Unbounded(GateParametrization):
    """Weights of either sign and any size: the parameter itself. They are no alphas and belong to additive mixing."""

    def raw(self, gates: Gates) -> Gates:
        """Return the weights."""
        return gates

    def deterministic(self, raw: Gates) -> Gates:
        """Return the weights."""
        return raw


@dataclass(frozen=True, slots=True)
class HardConcrete(GateParametrization):
    """Gates that are drawn in training, exactly 0 or 1 with some probability, and open for a given share of the heads.

    A draw is cut to [0, 1] out of a stretched concrete variable, so that it has mass at both ends and a slope between.
    The share of heads expected open, in closed form, is brought to `density` by a quadratic penalty whose price grows,
    while the target falls from 1 over half of the steps. Edge Pruning learns two multipliers, of the gap and of its
    square, over 3000 steps; over a few hundred they overshoot, and closed gates do not come back.

    Reference: Louizos, Welling and Kingma, arXiv 1712.01312, eq. 10 to 13 (gates, expected L0, gates at test time);
    Bhaskar et al., arXiv 2406.16778, section 3 (falling target density).
    """

    stochastic: ClassVar[bool] = True

    density: float
    """Share of the heads to be open, in (0, 1)."""

    def raw(self, gates: Gates) -> Gates:
        """Return log alpha in the words of the source: the location of the concrete variable."""
        return torch.logit((gates - STRETCH_LOW) / (STRETCH_HIGH - STRETCH_LOW))

    def deterministic(self, raw: Gates) -> Gates:
        """Return the gates without noise, in [0, 1] (eq. 13)."""
        return _stretched(torch.sigmoid(raw))

    def sample(self, raw: Gates, uniform: Gates) -> Gates:
        """Return gates drawn from the hard-concrete distribution (eq. 10 and 11)."""
        noise = torch.logit(uniform, eps=torch.finfo(uniform.dtype).eps)
        return _stretched(torch.sigmoid((noise + raw) / TEMPERATURE))

    def open_probability(self, raw: Gates) -> Gates:
        """Return the probability that a drawn gate is not 0 (eq. 12)."""
        return torch.sigmoid(raw - TEMPERATURE * log(-STRETCH_LOW / STRETCH_HIGH))

    def penalty(self, raw: Maps, progress: OfMaps, mask: Bool[Tensor, "layer head"]) -> OfMaps:
        """Return the squared gap between the share of heads expected open and its target, at a growing price."""
        target = 1 - (1 - self.density) * (progress / RAMP).clamp(max=1)
        gap = self.open_probability(raw)[:, mask].mean(-1) - target
        return FIRST_PRICE * PRICE_GROWTH**progress * gap**2


def _stretched(share: Gates) -> Gates:
    """Stretch (0, 1) beyond its ends and cut it back to [0, 1]."""
    return (STRETCH_LOW + (STRETCH_HIGH - STRETCH_LOW) * share).clamp(0, 1)
