"""Heads of a model: the grid they stand in, one head, and sets of heads."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from site_lens.records.display import CellMap, Displayed, few
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.type_checks import checked, checked_methods

MOST_PLACES = 2**20
"""Layers times heads that a grid may have: a hundred times those of the largest models, and few enough to draw."""


@checked_methods
@dataclass(frozen=True, order=True, slots=True)
class Head:
    """One attention head, written `L3H7`; both indices count from 0."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"

    __repr__ = __str__

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read a head from text such as `L3H7` or `3.7`.

        Raises:
            InputError: The text is neither.
        """
        name = re.fullmatch(r"L?(\d+)[H.](\d+)", text.strip())
        if name is None:
            raise InputError(f"{text!r} names no head; write it as L3H7 (layer 3, head 7)")
        return cls(int(name[1]), int(name[2]))


@checked_methods
@dataclass(frozen=True)
class HeadGrid:
    """The shape in which a model's heads stand: how many query heads each layer has.

    A layer without attention (hybrid models) has 0 heads; maps over the grid are rectangular,
    (layer, head), and `mask` tells which places hold a head.
    """

    heads_per_layer: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads_per_layer", tuple(self.heads_per_layer))
        if not self.heads_per_layer or min(self.heads_per_layer) < 0 or max(self.heads_per_layer) == 0:
            raise InputError(f"a head grid needs at least one head, got heads per layer {self.heads_per_layer!r:.80}")
        if self.n_layers * self.n_heads > MOST_PLACES:
            raise InputError(
                f"a head grid has at most {MOST_PLACES} places, got {self.n_layers} layers x {self.n_heads} heads"
            )

    @classmethod
    def full(cls, n_layers: int, n_heads: int) -> "HeadGrid":
        """Build the grid of a model with `n_heads` heads in every one of `n_layers` layers."""
        return cls((n_heads,) * n_layers)

    @property
    def n_layers(self) -> int:
        """Number of layers, those without attention included."""
        return len(self.heads_per_layer)

    @property
    def n_heads(self) -> int:
        """Most heads in any layer: the width of a map over this grid."""
        return max(self.heads_per_layer)

    @property
    def shape(self) -> tuple[int, int]:
        """(layer, head) shape of a map over this grid."""
        return self.n_layers, self.n_heads

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(layer head), True where a head stands."""
        mask: NDArray[np.bool_] = np.arange(self.n_heads)[None, :] < np.array(self.heads_per_layer)[:, None]
        mask.setflags(write=False)
        return mask

    def columns(self, times: int = 1) -> dict[str, NDArray[np.int64]]:
        """Layer and head of every head, in order, some times over: the columns that begin a table of heads."""
        layer, head = np.nonzero(self.mask)
        return {"layer": np.tile(layer, times), "head": np.tile(head, times)}

    def __len__(self) -> int:
        return sum(self.heads_per_layer)

    def __iter__(self) -> Iterator[Head]:
        return (Head(layer, head) for layer, n in enumerate(self.heads_per_layer) for head in range(n))

    def __contains__(self, head: object) -> bool:
        head = Head.parse(head) if isinstance(head, str) else head
        if not isinstance(head, Head) or not 0 <= head.layer < self.n_layers:
            return False
        return 0 <= head.head < self.heads_per_layer[head.layer]

    def __str__(self) -> str:
        ragged = len(set(self.heads_per_layer)) > 1
        return f"{self.n_layers} layers x {'up to ' if ragged else ''}{self.n_heads} heads"

    def __repr__(self) -> str:
        return f"HeadGrid({self})"


def common_grid(grids: Mapping[str, HeadGrid]) -> HeadGrid:
    """Return the grid of several named things, at least one, that are compared head by head.

    Raises:
        MismatchError: Two of them have different grids; the message names both.
    """
    (first, grid), *others = grids.items()
    for name, other in others:
        if other != grid:
            raise MismatchError(
                f"{first} has {grid}, {name} has {other}; compare what has one grid, for only there does a name such "
                "as L3H7 mean the same head"
            )
    return grid


@checked_methods
@dataclass(frozen=True, repr=False)
class HeadSet(Displayed):
    """A set of heads of one grid, with set algebra (`|`, `&`, `-`, `^`, `~`)."""

    grid: HeadGrid
    heads: frozenset[Head]

    def __post_init__(self) -> None:
        strangers = sorted(head for head in self.heads if head not in self.grid)
        if strangers:
            raise InputError(f"{strangers[0]} is not in a grid of {self.grid}")

    @classmethod
    def of(cls, grid: HeadGrid, heads: Iterable[Head | str]) -> "HeadSet":
        """Build a set from heads or their names (`L3H7`)."""
        return cls(grid, frozenset(Head.parse(h) if isinstance(h, str) else h for h in heads))

    @classmethod
    def from_mask(cls, grid: HeadGrid, mask: NDArray[np.bool_]) -> "HeadSet":
        """Build a set from a boolean map (layer head)."""
        if mask.shape != grid.shape:
            raise InputError(f"a head mask of shape {mask.shape} does not fit a grid of {grid}")
        return cls(grid, frozenset(Head(int(layer), int(head)) for layer, head in np.argwhere(mask)))

    @classmethod
    def random(cls, grid: HeadGrid, n_heads: int, *, seed: int) -> "HeadSet":
        """Draw `n_heads` distinct heads uniformly from the grid."""
        if not 0 <= n_heads <= len(grid):
            raise InputError(f"cannot draw {n_heads} heads from a grid of {len(grid)}")
        drawn = np.random.default_rng(seed).choice(len(grid), n_heads, replace=False)
        every = list(grid)
        return cls(grid, frozenset(every[i] for i in drawn))

    @classmethod
    def random_like(cls, other: "HeadSet", *, seed: int) -> "HeadSet":
        """Draw a layer-matched random set: as many heads in each layer as `other` has there."""
        rng = np.random.default_rng(seed)
        counts = np.bincount([h.layer for h in other.heads], minlength=other.grid.n_layers)
        drawn = (
            Head(layer, int(head))
            for layer, count in enumerate(counts)
            for head in rng.choice(max(other.grid.heads_per_layer[layer], 1), count, replace=False)
        )
        return cls(other.grid, frozenset(drawn))

    def mask(self) -> NDArray[np.bool_]:
        """(layer head), True for the heads of the set."""
        mask = np.zeros(self.grid.shape, dtype=np.bool_)
        for head in self.heads:
            mask[head.layer, head.head] = True
        return mask

    @checked
    def _other(self, other: "HeadSet") -> frozenset[Head]:
        if other.grid != self.grid:
            raise MismatchError(f"head sets of different grids: {self.grid} and {other.grid}")
        return other.heads

    def __or__(self, other: "HeadSet") -> "HeadSet":
        return HeadSet(self.grid, self.heads | self._other(other))

    def __and__(self, other: "HeadSet") -> "HeadSet":
        return HeadSet(self.grid, self.heads & self._other(other))

    def __sub__(self, other: "HeadSet") -> "HeadSet":
        return HeadSet(self.grid, self.heads - self._other(other))

    def __xor__(self, other: "HeadSet") -> "HeadSet":
        return HeadSet(self.grid, self.heads ^ self._other(other))

    def __invert__(self) -> "HeadSet":
        return HeadSet(self.grid, frozenset(self.grid) - self.heads)

    def __le__(self, other: "HeadSet") -> bool:
        return self.heads <= self._other(other)

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Head]:
        return iter(sorted(self.heads))

    def __contains__(self, head: object) -> bool:
        return (Head.parse(head) if isinstance(head, str) else head) in self.heads

    def __eq__(self, other: object) -> bool:
        """Tell whether two sets hold the same heads; the order of `TopHeads` makes no difference."""
        return isinstance(other, HeadSet) and (self.grid, self.heads) == (other.grid, other.heads)

    def __hash__(self) -> int:
        return hash((self.grid, self.heads))

    def __str__(self) -> str:
        return "{" + ", ".join(map(str, self)) + "}"

    def _facts(self) -> Mapping[str, object]:
        return {"heads": f"{len(self)} of {len(self.grid)} heads", "grid": str(self.grid), "names": few(list(self), 24)}

    def _line(self) -> str:
        return f"{len(self)} of {len(self.grid)} heads: {few(list(self), 12)}" if self else "no heads"

    def _maps(self) -> Mapping[str, CellMap]:
        return {"in the set": CellMap(self.mask().astype(np.float32), self.grid.mask, full=1)}


@checked_methods
@dataclass(frozen=True, repr=False, eq=False)
class TopHeads(HeadSet):
    """The heads of highest score: a set that goes through its heads highest first, and knows their scores."""

    ranked: tuple[tuple[Head, float], ...] = ()
    """Heads and scores, highest first; equal scores in order of layer, then head."""
    n_tied: int = 0
    """Heads outside the set whose score is that of the last head in it: which of them are in it says nothing."""
    reason: str = ""
    """Why there are no heads, where some were asked for."""

    def __iter__(self) -> Iterator[Head]:
        return (head for head, _ in self.ranked)

    def _facts(self) -> Mapping[str, object]:
        facts = {"heads": f"{len(self)} of {len(self.grid)} heads", "highest first": self._with_scores()}
        return {name: said for name, said in (facts | {"note": self._remark}).items() if said}

    def _line(self) -> str:
        return "; ".join(filter(None, (self._with_scores(), self._remark)))

    def _maps(self) -> Mapping[str, CellMap]:
        if not self.ranked:
            return {}
        values = np.zeros(self.grid.shape, dtype=np.float32)
        for head, score in self.ranked:
            values[head.layer, head.head] = score
        return {"scores of the set": CellMap(values, self.grid.mask)}

    def _with_scores(self) -> str:
        return ", ".join(f"{head} {score:.3f}" for head, score in self.ranked)

    @property
    def _remark(self) -> str:
        if not self.n_tied:
            return self.reason
        return f"tied at the cut with {self.n_tied} others at {self.ranked[-1][1]:.3f}"
