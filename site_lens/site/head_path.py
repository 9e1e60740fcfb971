"""Path of head sets: which heads stay open as the price of a head rises, and the set that is chosen on valid."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from site_lens.heads.head_set import Head, HeadSet
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Frozen, Lengths, Record, leaves_out
from site_lens.records.collections import RecordSet
from site_lens.records.display import CellMap, few
from site_lens.records.hashing import seed_stream
from site_lens.records.lazy_pandas import pd
from site_lens.records.wording import listed
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.stats.intervals import Interval, median_range
from site_lens.stats.similarity import jaccard
from site_lens.tasks.prompt_template import PromptTemplate

Content = Literal["task", "zero", "shuffled"]
"""What a fit of a path is made of. `task`: the task embedding, as SITE. `zero`: zeros instead of it (gates alone).
`shuffled`: the task embedding, but training queries with shuffled answers, a null that has no task to learn."""

CONTENTS: tuple[Content, ...] = get_args(Content)

Kind = Literal["open", "free", "closed"]
"""`open`: most fits open the head at the chosen price. `closed`: none does, and most close it even at the lowest price
below 0, which pays for open heads. `free`: neither."""

PRICES = (-0.01, 0.0, 0.001, 0.003, 0.01, 0.03, 0.06)
"""Prices of a head by default, in nats: one at which open heads are paid for, the paper's 0, and five rising ones."""

FEW_PRICES = (-0.01, 0.0, 0.003, 0.01, 0.03)
"""Those on large models, where every price takes time."""

NO_SET = "none does better than zero-shot on valid by more than one standard error and on more rows"
"""Why `choose_fit` finds none."""

OPEN = 0.5
"""Alpha above which a head is open when gates are rounded."""

KEPT = 0.95
"""Share of the gain over zero-shot, in nats, that a set keeps which does as well as the best."""

CORE_SHARE = 0.8
"""Share of the fits that must open a head of the core."""

NULL_DRAWS = 999
"""Draws of layer-matched random sets that the agreement of fits is compared with."""


class PathFit(Frozen):
    """One fit of a path; the seed draws the embedding and the training queries."""

    content: Content = "task"
    price: float
    """Nats per unit of alpha."""
    seed: Count
    init: Annotated[float, Field(gt=0, lt=1)] | Literal["random"]
    """Alphas at which its first price began; each further price began at the alphas of the one before."""
    kept_start: bool = False
    """Whether no alphas did better on valid than those at which it began, which are kept: they say nothing of heads."""

    _serializer = leaves_out(kept_start=False)


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
    """Share of the largest gain over zero-shot, in nats, that the set keeps; at most 1. The largest is that of any fit
    with the task embedding and a price of 0 or more."""


@dataclass(frozen=True, slots=True)
class SetAgreement:
    """Agreement of the sets of several fits, beside that of random sets with as many heads in every layer."""

    value: float
    """Mean Jaccard index of two fits."""
    by_chance: float
    """The same of layer-matched random sets, mean over draws."""
    p_value: float
    """Share of the draws that agree as well, the measured sets counted as one of them."""


class HeadPath(Record):
    """Gates of one task under several prices, from several starts, and their loss on valid when they are rounded."""

    kind: ClassVar[str] = "head_path"
    lengths: ClassVar[Lengths] = {"fits": "fit"}

    task: str
    fits: tuple[PathFit, ...]
    gates: Annotated[Float32, Axes(("fit", "layer", "head"), 0, 1)]
    """(fit layer head): alphas as they were fitted."""
    loss: Annotated[Float32, Axes(("fit", "query"), 0)]
    """(fit query): cross-entropy of the first answer token of each row of valid under the rounded gates, in nats."""
    right: Annotated[Float32, Axes(("fit", "query"), 0, 1)]
    """(fit query): 1 where the first token was right."""
    zero_shot_loss: Annotated[Float32, Axes(("query",), 0)]
    """(query): the same loss without any edit."""
    zero_shot_right: Annotated[Float32, Axes(("query",), 0, 1)]
    choice: int | None = Field(ge=0)
    """Index of the fit whose rounded set was chosen (see `choose_fit`); None where no set was found."""
    sparse: SiteFit | None = None
    """That fit, its gates rounded: what `site_sparse` is in evaluations, and what analyses of head sets take. Its
    labelled rows are those of all fits that were chosen from, and the rows of valid."""
    gain_alone: tuple[float, ...] = ()
    """Of each head of the chosen set, in the order of the grid: loss on valid without any edit less the loss where this
    head alone is replaced by the embedding, in nats. Empty where no set was found."""
    gates_alone: SiteFit | None = None
    """The control of the chosen set: the fit with zeros under the same price, rounded, with no more heads."""
    n_forwards: int | None = Field(None, ge=0)
    """Prompts passed through the model for the fits with the task embedding, whole or from a prefix, backward passes
    counted as one more each."""
    config: SiteConfig
    """Settings of the first fits, but for content, seed and start."""
    template: PromptTemplate
    task_digest: str
    family: str | None = None
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """(fit layer head): whether the rounded gate is open."""
        return np.asarray(self.gates > OPEN)

    @property
    def n_open(self) -> NDArray[np.int64]:
        """(fit): number of open heads."""
        return np.asarray(self.is_open.sum((-2, -1)))

    def prices(self, content: Content = "task") -> tuple[float, ...]:
        """Return the prices of the fits of a content, rising."""
        return tuple(sorted({fit.price for fit in self.fits if fit.content == content}))

    def of(self, content: Content, price: float) -> list[int]:
        """Return the indices of the fits of a content under a price."""
        return [i for i, fit in enumerate(self.fits) if (fit.content, fit.price) == (content, price)]

    @cached_property
    def chosen(self) -> ChosenSet | None:
        """The chosen set; None where none was found. `choose_fit` states the rule."""
        if self.choice is None:
            return None
        means = self.loss.mean(-1, dtype=np.float64)
        lowest = min(means[i] for price in self.prices() if price >= 0 for i in self.of("task", price))
        loss, zero_shot = float(means[self.choice]), float(self.zero_shot_loss.mean(dtype=np.float64))
        return ChosenSet(
            heads=HeadSet.from_mask(self.model.grid, self.is_open[self.choice]),
            price=self.fits[self.choice].price,
            fit=self.choice,
            loss=loss,
            accuracy=float(self.right[self.choice].mean()),
            kept=float((zero_shot - loss) / (zero_shot - lowest)) if zero_shot > lowest else float("nan"),
        )

    @property
    def moved(self) -> list[int]:
        """Indices of the fits with the task embedding and without a price that did not keep their start."""
        return [i for i in self.of("task", 0.0) if not self.fits[i].kept_start]

    @property
    def mean_gates(self) -> HeadGates | None:
        """Alphas of the fits without a price, averaged over seeds and starts; None where each kept its start."""
        if not self.moved:
            return None
        mean = self.gates[self.moved].mean(0, dtype=np.float64).astype(np.float32)
        return HeadGates(grid=self.model.grid, values=mean, task=self.task, mix=self.config.mix)

    @property
    def ranked(self) -> dict[Head, float | None]:
        """Chosen heads and what each gains alone, in nats on valid, highest first; None where it was not measured.

        Heads that do little alone can still be needed together. Empty where no set was found.
        """
        if self.chosen is None:
            return {}
        heads = list(self.chosen.heads)
        if not self.gain_alone:
            return dict.fromkeys(heads)
        order = sorted(range(len(heads)), key=lambda i: -self.gain_alone[i])
        return {heads[i]: self.gain_alone[i] for i in order}

    @property
    def _alike(self) -> list[int]:
        """Indices of the fits with the task embedding at the chosen price; none where no set was found."""
        return self.of("task", self.chosen.price) if self.chosen else []

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of open heads of every fit at the chosen price."""
        return tuple(self.n_open[self._alike].tolist())

    @property
    def size(self) -> Interval | None:
        """Number of heads of a set: the median over seeds, embeddings and random starts, and the range of the fits.

        The range holds the median of all such fits with a confidence of `range_confidence(n)`, 75 % for three and 97 %
        for six, at the price as it was chosen. None where no set was found, or there is one fit.
        """
        return median_range(self.sizes) if len(self.sizes) > 1 else None

    @property
    def stability(self) -> Float32:
        """(layer head): share of the fits at the chosen price that open the head; NaN where no set was found."""
        if self.chosen is None:
            return np.full(self.model.grid.shape, np.nan, dtype=np.float32)
        return np.asarray(self.is_open[self._alike].mean(0), dtype=np.float32)

    @property
    def core(self) -> HeadSet:
        """Heads that at least 80 % of the fits at the chosen price open; empty where no set was found."""
        return HeadSet.from_mask(self.model.grid, self.stability >= CORE_SHARE - 1e-6)  # NaN compares as False

    @cached_property
    def agreement(self) -> SetAgreement | None:
        """Agreement of the fits at the chosen price: other seeds, random starts and fresh embeddings.

        None where no set was found, or there is one fit.
        """
        sets = self.is_open[self._alike]
        if len(sets) < 2:
            return None
        stream = seed_stream(0, self.task_digest, "layer-matched sets")
        keys = np.where(self.model.grid.mask, stream.random((NULL_DRAWS, *sets.shape)), 2.0)
        drawn = keys.argsort(-1).argsort(-1) < sets.sum(-1, keepdims=True)  # as many of every layer, the lowest keys
        measured, by_chance = _mean_jaccard(sets), np.array([_mean_jaccard(draw) for draw in drawn])
        as_good = int((by_chance >= measured - 1e-9).sum())
        return SetAgreement(measured, float(by_chance.mean()), (1 + as_good) / (1 + NULL_DRAWS))

    @property
    def kinds(self) -> dict[str, Kind] | None:
        """Kind of every head by name; None without a price below 0, or a chosen set."""
        paid = self.of("task", min(self.prices()))
        if self.chosen is None or self.fits[paid[0]].price >= 0:
            return None
        mostly_open = self.stability > 0.5  # most of the fits: of two, both
        closed = (self.stability == 0) & (self.is_open[paid].mean(0) < 0.5)
        kinds = np.select([mostly_open, closed], ["open", "closed"], "free")
        return {str(head): kinds[head.layer, head.head].item() for head in self.model.grid}

    @property
    def scores(self) -> HeadScores:
        """Order of the heads: the share of the fits under a positive price that open each.

        A head that stays open under high prices, from every start, is near 1. Ties are broken by mean alpha there.
        """
        priced = [i for price in self.prices() if price > 0 for i in self.of("task", price)]
        share, alpha = self.is_open[priced].mean(0), self.gates[priced].mean(0, dtype=np.float64)
        return HeadScores(
            grid=self.model.grid,
            values=share + alpha / (2 * len(priced)),  # less than one more fit would add
            selector="site_path",
            meaning="share of the fits under a price that open the head; high: worth a high price",
            task=self.task,
            n_forwards=self.n_forwards,
            n_labelled=self.sparse.n_labelled if self.sparse else None,
            notes=self.notes,
        )

    def frame(self) -> "pd.DataFrame":
        """One row per fit: its fields, n_open, undecided, loss and its standard error on valid, accuracy, chosen.

        `undecided` is the share of the heads with 0.1 < alpha < 0.9 before rounding.
        """
        alphas = self.gates[:, self.model.grid.mask]
        rows = [
            {"task": self.task} | fit.model_dump() | {
                "init": str(fit.init),
                "kept_start": fit.kept_start,
                "n_open": int(self.n_open[i]),
                "undecided": float(((alphas[i] > 0.1) & (alphas[i] < 0.9)).mean()),
                "loss": float(self.loss[i].mean(dtype=np.float64)),
                "standard_error": standard_error(self.loss[i]),
                "accuracy": float(self.right[i].mean()),
                "chosen": i == self.choice,
            }
            for i, fit in enumerate(self.fits)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def heads_frame(self) -> "pd.DataFrame":
        """One row per head: task, head, layer, chosen, stability, kind, alpha of the fit behind the set, gain_alone."""
        chosen, kinds, stability, gains = self.chosen, self.kinds or {}, self.stability, self.ranked
        rows = [
            {
                "task": self.task,
                "head": str(head),
                "layer": head.layer,
                "chosen": chosen is not None and head in chosen.heads,
                "stability": float(stability[head.layer, head.head]),
                "kind": kinds.get(str(head)),
                "alpha": None if chosen is None else float(self.gates[chosen.fit, head.layer, head.head]),
                "gain_alone": gains.get(head),
            }
            for head in self.model.grid
        ]
        return pd.DataFrame(rows)

    def _facts(self) -> Mapping[str, object]:
        chosen, facts = self.chosen, {"task": self.task, "model": self.model.name, "fits": len(self.fits)}
        if chosen is None:
            return facts | {"chosen": "no set found: none does better than zero-shot on valid"}
        return facts | {
            "chosen": f"{len(chosen.heads)} of {len(self.model.grid)} heads: {few(list(chosen.heads), 8)}",
            "heads by fit": ", ".join(map(str, self.sizes)),
            "price": chosen.price,
            "gain kept": f"{chosen.kept:.0%}",
            "accuracy on valid": chosen.accuracy,
        }

    def _line(self) -> str:
        return self.sentence

    def _brief(self) -> str:
        return "no set" if self.chosen is None else few(list(self.chosen.heads), 3)

    def _maps(self) -> Mapping[str, CellMap]:
        return {} if self.chosen is None else {f"{self.task}: chosen set": self.chosen.heads._maps()["in the set"]}

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"fits by price": self.frame, "heads": self.heads_frame}

    @property
    def sentence(self) -> str:
        """Answer in one line: how many heads, their names in the order of what each gains alone, and how sure.

        Such as "antonym: 2 of 48 heads carry it (L3H2, L4H1), 97% of the gain, the same in 3 of 3 fits".
        """
        chosen, n = self.chosen, len(self.model.grid)
        if chosen is None:
            return f"{self.task}: no head set found; {NO_SET}"
        verb = "head carries" if len(chosen.heads) == 1 else "heads carry"
        return (
            f"{self.task}: {len(chosen.heads)} of {n} {verb} it ({listed(self.ranked)}), "
            f"{chosen.kept:.0%} of the gain, {self.sureness}"
        )

    @property
    def sureness(self) -> str:
        """Say in how many of the fits at the chosen price the set is the same, or how many of its heads are."""
        if self.chosen is None:
            return ""
        if len(self._alike) < 2:
            return "one fit: how sure is not known"
        n_same = int((self.is_open[self._alike] == self.is_open[self.chosen.fit]).all((1, 2)).sum())
        n_core, n = len(self.core & self.chosen.heads), len(self.chosen.heads)
        if n_same == len(self._alike):
            return f"the same in {n_same} of {n_same} fits"
        n_fits = len(self._alike)
        share = f"all {n_fits}" if CORE_SHARE * n_fits > n_fits - 1 else f"{CORE_SHARE:.0%} or more of {n_fits}"
        return f"{n_core} of {n} heads in {'both' if n_fits == 2 else share} fits"


def choose_fit(
    fits: Sequence[PathFit],
    sizes: Sequence[int],
    loss: Float32,
    right: Float32,
    zero_shot_loss: Float32,
    zero_shot_right: Float32,
) -> int | None:
    """Choose the price with the smallest sets that do as well on valid as any, and of its sets that of lowest loss.

    Only fits with the task embedding and a price of 0 or more are asked, and losses are those of rounded gates. The
    loss of a price is the mean over its fits. The best price is that of lowest loss. Another one does as well where
    its loss is higher by at most one standard error of the difference, query by query, or where it keeps 95 % of the
    best price's gain over zero-shot: of a task that is solved, the standard error is next to nothing. Of the prices
    that do as well, the one with the fewest open heads is taken (of equally few, the highest).

    Returns:
        The index of the fit. None where the best price gains no more over zero-shot than one standard error, or every
        set is empty, or the set is right on no more rows than zero-shot: no set is found then.

    Args:
        fits: What each fit is.
        sizes: (fit): open heads.
        loss: (fit query): loss on valid, in nats.
        right: (fit query): 1 where right.
        zero_shot_loss: (query): loss without an edit.
        zero_shot_right: (query): 1 where right without an edit.

    Reference: the rule of one standard error, Breiman et al. 1984, section 3.4.3; `lambda.1se` of glmnet.
    """
    at_price: dict[float, list[int]] = {}
    for i, fit in enumerate(fits):
        if fit.content == "task" and fit.price >= 0:
            at_price.setdefault(fit.price, []).append(i)
    losses = {price: loss[members].mean(0, dtype=np.float64) for price, members in at_price.items()}  # each (query)
    best = min(losses, key=lambda price: (losses[price].mean(), -price))
    gains = zero_shot_loss - losses[best]
    if gains.mean() <= standard_error(gains):
        return None

    def as_good(price: float) -> bool:
        behind = losses[price] - losses[best]
        return bool(behind.mean() <= max(standard_error(behind), (1 - KEPT) * gains.mean()))

    price = min(filter(as_good, losses), key=lambda price: (sum(sizes[i] for i in at_price[price]), -price))
    filled = [i for i in at_price[price] if sizes[i]]
    chosen = min(filled, key=lambda i: (loss[i].mean(dtype=np.float64), sizes[i]), default=None)
    return None if chosen is None or right[chosen].mean() <= zero_shot_right.mean() else chosen


def standard_error(values: ArrayLike) -> float:
    """Return the standard error of a mean over queries; infinite for a single one, of which nothing is known."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def _mean_jaccard(sets: NDArray[np.bool_]) -> float:
    """Return the mean Jaccard index of two of some sets (set layer head); two empty ones are left out."""
    pairs = np.triu_indices(len(sets), k=1)
    return float(np.nanmean(jaccard(sets.reshape(len(sets), -1))[pairs]))


class HeadPaths(RecordSet[HeadPath]):
    """Paths by task."""

    record_class: ClassVar[type[Record]] = HeadPath

    def _keyed(self, records: list[HeadPath]) -> Iterator[tuple[str, HeadPath]]:
        return ((path.task, path) for path in records)

    def _facts(self) -> Mapping[str, object]:
        facts: dict[str, object] = {"paths": len(self), "with a chosen set": len(self.chosen())}
        return facts | ({"without": few(self.without_set())} if self.without_set() else {})

    def chosen(self) -> dict[str, HeadSet]:
        """Return the chosen set of every task that has one."""
        return {task: path.chosen.heads for task, path in self.items() if path.chosen is not None}

    def sparse_fits(self) -> SiteFits:
        """Return the fits with rounded gates, of every task that has a chosen set."""
        return SiteFits([path.sparse for path in self.values() if path.sparse is not None])

    def without_set(self) -> tuple[str, ...]:
        """Return the tasks of which no set was found."""
        return tuple(task for task, path in self.items() if path.choice is None)

    def heads_frame(self) -> "pd.DataFrame":
        """One row per task and head; see `HeadPath.heads_frame`."""
        return pd.concat([path.heads_frame() for path in self.values()], ignore_index=True)
