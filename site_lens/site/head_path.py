"""Path of head sets: which heads stay open as the price of a head rises, and the set that is chosen on valid."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import HeadGates
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Frozen, Record
from site_lens.records.collections import RecordSet
from site_lens.site.fit import SiteConfig
from site_lens.stats.set_overlap import expected_jaccard, shared_by_chance
from site_lens.stats.similarity import jaccard
from site_lens.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

Content = Literal["task", "zero"]
"""What open heads are replaced by: the task embedding, or zeros (gates alone)."""

Kind = Literal["needed", "free", "harmful"]
"""`needed`: open under the chosen price. `harmful`: closed even when open heads are paid for. `free`: neither."""

OPEN = 0.5
"""Alpha above which a head is open when gates are rounded."""

KEPT = 0.95
"""Share of the gain over zero-shot, in nats, that a set keeps which does as well as the best."""

CORE_SHARE = 0.8
"""Share of the fits that must open a head of the core."""


class PathFit(Frozen):
    """Seed and start of the fits at every price; the seed draws the embedding and the training queries, too."""

    seed: Count
    init: Annotated[float, Field(gt=0, lt=1)] | Literal["random"]


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """The chosen head set, and what it reaches on valid when its heads are replaced wholly by the embedding."""

    heads: HeadSet
    price: float
    fit: int
    """Index of the fit that it comes from."""
    loss: float
    """Mean loss on valid, in nats."""
    accuracy: float
    kept: float
    """Share of the lowest loss's gain over zero-shot, in nats, that the set keeps; above 1 where it gains more."""


class HeadPath(Record):
    """Gates of one task under several prices, contents and starts, and their loss on valid when they are rounded."""

    kind: ClassVar[str] = "head_path"

    task: str
    prices: tuple[float, ...]
    """Nats per unit of alpha, rising."""
    contents: tuple[Content, ...]
    fits: tuple[PathFit, ...]
    gates: Annotated[Float32, Axes(("content", "price", "fit", "layer", "head"), 0, 1)]
    """(content price fit layer head): alphas as they were fitted."""
    loss: Annotated[Float32, Axes(("content", "price", "fit", "query"), 0)]
    """(content price fit query): cross-entropy of the first answer token of each row of valid under the rounded gates,
    in nats."""
    right: Annotated[Float32, Axes(("content", "price", "fit", "query"), 0, 1)]
    """(content price fit query): 1 where the first token was right."""
    zero_shot_loss: Annotated[Float32, Axes(("query",), 0)]
    """(query): the same loss without any edit."""
    zero_shot_right: Annotated[Float32, Axes(("query",), 0, 1)]
    config: SiteConfig
    """Settings of the fits, but for price, content, seed and start."""
    template: PromptTemplate
    task_digest: str
    family: str | None = None
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _prices_rise(self) -> Self:
        if any(later <= price for price, later in zip(self.prices, self.prices[1:], strict=False)):
            raise ValueError(f"needs rising prices, got {self.prices}")
        if "task" not in self.contents or max(self.prices, default=-1.0) < 0:
            raise ValueError(f"needs the task embedding and a price of 0 or more, got {self.contents}, {self.prices}")
        return self

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """(content price fit layer head): whether the rounded gate is open."""
        rounded: NDArray[np.bool_] = self.gates > OPEN
        return rounded

    @property
    def n_open(self) -> NDArray[np.int64]:
        """(content price fit): number of open heads."""
        counts: NDArray[np.int64] = self.is_open.sum((-2, -1))
        return counts

    @cached_property
    def chosen(self) -> ChosenSet | None:
        """The smallest set that does as well on valid as any, within one standard error; None where none is found.

        A loss does as well as the lowest where it is at most one standard error above it, or keeps 95 % of what the
        lowest gains over zero-shot: of a task that is solved, the standard error is next to nothing. First the price:
        of the prices of 0 and more whose loss, mean over the fits with the task embedding, does as well as that of any,
        the one with the fewest open heads (of equally few, the highest price). Then, of the sets of its fits that do
        as well, the smallest (of equally small ones, that of lowest loss). No set is found where the lowest loss is not
        more than one standard error below zero-shot, or where every set that does as well is empty.

        Reference: the rule of one standard error, Breiman et al. 1984, section 3.4.3; `lambda.1se` of glmnet.
        """
        priced = [i for i, price in enumerate(self.prices) if price >= 0]
        losses = self.loss[self._task, priced].astype(np.float64)  # (price fit query)
        means, sizes = losses.mean(-1), self.n_open[self._task, priced]
        best = int(np.argmin(means.mean(-1)))
        lowest, error = means[best].mean(), _standard_error(losses[best].mean(0))
        gain = self.zero_shot_loss.mean(dtype=np.float64) - lowest
        if gain <= error:
            return None
        limit = lowest + max(error, (1 - KEPT) * gain)
        good = [i for i in range(len(priced)) if means[i].mean() <= limit]
        price = min(good, key=lambda i: (sizes[i].mean(), -i))
        fits = [fit for fit in range(len(self.fits)) if means[price, fit] <= limit and sizes[price, fit]]
        if not fits:
            return None
        fit = min(fits, key=lambda fit: (sizes[price, fit], means[price, fit]))
        place = self._task, priced[price], fit
        heads = HeadSet.from_mask(self.model.grid, self.is_open[place])
        loss, accuracy = float(means[price, fit]), float(self.right[place].mean())
        kept = float(1 - (loss - lowest) / gain)
        return ChosenSet(heads, self.prices[place[1]], fit, loss, accuracy, kept)

    @property
    def _task(self) -> int:
        """Index of the task embedding among the contents."""
        return self.contents.index("task")

    @property
    def gates_of_chosen(self) -> HeadGates | None:
        """Binary gates of the chosen set."""
        chosen = self.chosen
        return None if chosen is None else HeadGates.of(chosen.heads, task=self.task, mix=self.config.mix)

    @property
    def _sets(self) -> NDArray[np.bool_]:
        """(fit layer head): the rounded sets with the task embedding at the chosen price."""
        chosen = self.chosen
        price = self.prices.index(chosen.price) if chosen else len(self.prices) - 1
        sets: NDArray[np.bool_] = self.is_open[self._task, price]
        return sets

    @property
    def stability(self) -> Float32:
        """(layer head): share of the fits at the chosen price that open the head; NaN where no set is found."""
        share: Float32 = self._sets.mean(0).astype(np.float32)
        return share if self.chosen else np.full_like(share, np.nan)

    @property
    def core(self) -> HeadSet:
        """Heads that at least 80 % of the fits at the chosen price open; empty where no set is found."""
        stable = self.stability >= CORE_SHARE - 1e-6  # NaN compares as False
        return HeadSet.from_mask(self.model.grid, stable & self.model.grid.mask)

    @property
    def agreement(self) -> tuple[float, float] | None:
        """Mean Jaccard index of the sets of two fits at the chosen price, and that of layer-matched random sets.

        None where no set is found, or there is one fit.
        """
        if self.chosen is None or len(self.fits) < 2:
            return None
        sets, pairs = self._sets, list(combinations(range(len(self.fits)), 2))
        measured = jaccard(sets.reshape(len(sets), -1))
        chances, sizes = shared_by_chance(self.model.grid.heads_per_layer, sets), sets.sum((1, 2)).tolist()
        by_chance = [
            expected_jaccard(chances[i, j], sizes[i], sizes[j]) if sizes[i] + sizes[j] else 1.0 for i, j in pairs
        ]
        return float(np.mean([measured[pair] for pair in pairs])), float(np.mean(by_chance))

    @property
    def kinds(self) -> dict[str, Kind] | None:
        """Kind of every head by name, by the majority of fits; None without a price below 0, or a chosen set."""
        if self.chosen is None or self.prices[0] >= 0:
            return None
        needed, harmful = self._sets.mean(0) >= 0.5, self.is_open[self._task, 0].mean(0) < 0.5
        kinds = np.select([needed, harmful], ["needed", "harmful"], "free")
        return {str(head): kinds[head.layer, head.head].item() for head in self.model.grid}

    def frame(self) -> "pd.DataFrame":
        """One row per content, price and fit: seed, init, open heads, loss and its standard error, accuracy, chosen."""
        import pandas as pd

        chosen = self.chosen
        rows = [
            {
                "task": self.task,
                "content": content,
                "price": price,
                "seed": fit.seed,
                "init": str(fit.init),
                "n_open": int(self.n_open[c, p, f]),
                "loss": float(self.loss[c, p, f].mean(dtype=np.float64)),
                "standard_error": _standard_error(self.loss[c, p, f]),
                "accuracy": float(self.right[c, p, f].mean()),
                "chosen": chosen is not None and (content, price, f) == ("task", chosen.price, chosen.fit),
            }
            for c, content in enumerate(self.contents)
            for p, price in enumerate(self.prices)
            for f, fit in enumerate(self.fits)
        ]
        return pd.DataFrame(rows)

    def heads_frame(self) -> "pd.DataFrame":
        """One row per head: task, head, layer, chosen, stability, kind, and alpha of the fit behind the chosen set."""
        import pandas as pd

        chosen, kinds, stability = self.chosen, self.kinds or {}, self.stability
        place = (self._task, self.prices.index(chosen.price), chosen.fit) if chosen else None
        rows = [
            {
                "task": self.task,
                "head": str(head),
                "layer": head.layer,
                "chosen": chosen is not None and head in chosen.heads,
                "stability": float(stability[head.layer, head.head]),
                "kind": kinds.get(str(head)),
                "alpha": None if place is None else float(self.gates[(*place, head.layer, head.head)]),
            }
            for head in self.model.grid
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"HeadPath({self.sentence})"

    @property
    def sentence(self) -> str:
        """Answer in one line, such as "L3H2, L4H1 carry antonym (2 of 48 heads, 97% of the gain)"."""
        chosen, n = self.chosen, len(self.model.grid)
        if chosen is None:
            return f"no head set found for {self.task}: none lowers the loss on valid by more than a standard error"
        heads = ", ".join(map(str, chosen.heads))
        verb = "carries" if len(chosen.heads) == 1 else "carry"
        return f"{heads} {verb} {self.task} ({len(chosen.heads)} of {n} heads, {chosen.kept:.0%} of the gain)"


def _standard_error(losses: ArrayLike) -> float:
    """Return the standard error of a mean over rows; infinite for a single row, of which nothing is known."""
    values = np.asarray(losses, dtype=np.float64)
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


class HeadPaths(RecordSet[HeadPath]):
    """Paths by task."""

    record_class: ClassVar[type[Record]] = HeadPath

    def _keyed(self, records: list[HeadPath]) -> Iterator[tuple[str, HeadPath]]:
        return ((path.task, path) for path in records)

    def chosen(self) -> dict[str, HeadSet]:
        """Return the chosen set of every task that has one."""
        return {task: path.chosen.heads for task, path in self.items() if path.chosen is not None}
