"""What is being looked at: the fit, its comparison, the head, the cut that makes a head set, and the basket.

Plain values and methods; the panels read them and call them.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from site_lens.explorer.basket import Basket
from site_lens.heads.head_set import Head, HeadSet
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, unknown_name
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit
from site_lens.stats.intervals import Interval

Rule = Literal["threshold", "top"]
Part = Literal["first", "second", "both", "either", "only_first", "only_second"]
"""Of two head sets under comparison: one of them, what they share, their union, and what one has alone."""


class LiveSide(Protocol):
    """A model, as the explorer asks it; `interventions.live.LiveModel` is one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes its results hard to believe."""
        ...

    def queries(self, fit: SiteFit) -> tuple[str, ...]:
        """Return test inputs of the fit's task."""
        ...

    def expected(self, fit: SiteFit, query: str) -> tuple[str, ...]:
        """Return the accepted answers of a query, where they are known."""
        ...

    def accuracies(self, fit: SiteFit, gates: HeadGates) -> dict[str, Interval]:
        """Measure prompting and injection on the same test queries, where there are some."""
        ...

    def prompts(self, fit: SiteFit, query: str) -> dict[str, str]:
        """Write a query as prompts, by the name of the method."""
        ...

    def answers(self, fit: SiteFit, query: str, gates: HeadGates) -> dict[str, str]:
        """Answer a query by prompting and by injection."""
        ...

    def attention(self, text: str, head: Head) -> tuple[tuple[str, ...], Float32]:
        """Return the tokens of a text and the attention (query key) of a head."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """How scores become a head set; both numbers are kept while the other one rules."""

    rule: Rule = "threshold"
    threshold: float = 0.5
    k: int = 10

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise unknown_name("rule", self.rule, get_args(Rule))
        if not 0 <= self.threshold <= 1 or self.k < 0:
            raise InputError(f"a threshold lies in [0, 1] and k is at least 0, got {self.threshold} and {self.k}")

    def of(self, scores: HeadScores) -> HeadSet:
        """Return the heads that the rule lets in; of a grid with fewer than k heads all of them."""
        if self.rule == "threshold":
            return scores.above(self.threshold)
        return scores.top(min(self.k, len(scores.grid)))

    def __str__(self) -> str:
        return f"alpha > {self.threshold:.2f}" if self.rule == "threshold" else f"top {self.k}"


class Exploration:
    """The state of an explorer over one run.

    Args:
        run: The run; needs at least one fit.
        live: A model to ask, if there is one.

    Raises:
        InputError: The run has no fits.
    """

    def __init__(self, run: Run, live: LiveSide | None = None) -> None:
        if not run.fits:
            raise InputError("there are no fits to explore; fit some tasks first, with fit_site(model, tasks)")
        self.run, self.live = run, live
        self.basket = Basket()
        self.other_key: str | None = None
        """Key of the fit that the first one is compared with."""
        self.part: Part = "first"
        """Which of the two head sets is meant while two fits are compared."""
        self.rounded = False
        """Whether heads of the set are replaced wholly (alpha 1) instead of by their fitted alphas."""
        self.key = next(iter(run.fits))
        """Key of the fit that is looked at."""
        self.cut = Cut(k=max(1, round(self.fit.gates.mass())))
        (self.head,) = self.fit.gates.top(1)
        self.query = self._first_query()

    @property
    def fit(self) -> SiteFit:
        """The fit that is looked at."""
        return self.run.fits[self.key]

    @property
    def other(self) -> SiteFit | None:
        """The fit that it is compared with."""
        return None if self.other_key is None else self.run.fits[self.other_key]

    def select(self, key: str) -> None:
        """Look at another fit; what does not fit its grid is let go of.

        Raises:
            InputError: There is no such fit.
        """
        fit = self.run.fits[key]
        self.key = key
        if self.other_key not in self.comparable():
            self.compare(None)
        if self.head not in fit.gates.grid:
            (self.head,) = fit.gates.top(1)
        self.query = self._first_query()

    def comparable(self) -> list[str]:
        """Return the keys of the fits over the same grid, other than this one."""
        grid = self.fit.gates.grid
        return [key for key, fit in self.run.fits.items() if key != self.key and fit.gates.grid == grid]

    def compare(self, key: str | None) -> None:
        """Compare with another fit, or with none.

        Raises:
            InputError: There is no such fit, or it stands over another grid or is this one.
        """
        if key is not None and key not in self.comparable():
            self.run.fits[key]  # says which names there are if this is none
            raise InputError(f"{key!r} cannot be compared with {self.key!r}: it is the same fit or has another grid")
        self.other_key = key
        if key is None:
            self.part = "first"

    def choose(self, head: Head | str) -> None:
        """Look at a head.

        Raises:
            InputError: The text names no head, or the grid has none there.
        """
        chosen = Head.parse(head) if isinstance(head, str) else head
        if chosen not in self.fit.gates.grid:
            raise InputError(f"{chosen} is not in a grid of {self.fit.gates.grid}")
        self.head = chosen

    def recut(self, **changes: Any) -> None:
        """Change the rule, the threshold or k.

        Raises:
            InputError: One of them lies outside its range.
        """
        self.cut = replace(self.cut, **changes)

    def choose_part(self, part: Part) -> None:
        """Say which of two head sets is meant.

        Raises:
            InputError: There is no such part, or no comparison.
        """
        if part not in get_args(Part):
            raise unknown_name("part", part, get_args(Part))
        if part != "first" and self.other_key is None:
            raise InputError(f"{part!r} needs a second fit; compare with one first")
        self.part = part

    def head_set(self) -> HeadSet:
        """Return the heads that are meant."""
        first = self.cut.of(self.fit.gates)
        if self.other is None:
            return first
        second = self.cut.of(self.other.gates)
        found = {
            "first": first,
            "second": second,
            "both": first & second,
            "either": first | second,
            "only_first": first - second,
            "only_second": second - first,
        }
        return found[self.part]

    def set_name(self) -> str:
        """Name the head set by what made it."""
        names = {
            "first": f"{self.key}",
            "second": f"{self.other_key}",
            "both": f"{self.key} and {self.other_key}",
            "either": f"{self.key} or {self.other_key}",
            "only_first": f"{self.key} without {self.other_key}",
            "only_second": f"{self.other_key} without {self.key}",
        }
        return f"{names[self.part]}: {self.cut}"

    def gates(self) -> HeadGates:
        """Return what is injected: the fitted alphas of the head set, or 1 where they are rounded; 0 elsewhere."""
        heads = self.head_set()
        fitted = self.fit.gates
        return HeadGates.of(heads, task=self.fit.task, mix=fitted.mix) if self.rounded else fitted.only(heads)

    def queries(self) -> tuple[str, ...]:
        """Return inputs of the task's test rows, as far as anything here knows them."""
        if self.live is not None and self.live.queries(self.fit):
            return self.live.queries(self.fit)
        measured = self.run.evaluations
        return () if measured is None or self.fit.task not in measured else measured[self.fit.task].queries

    def _first_query(self) -> str:
        return next(iter(self.queries()), "")

    def keep(self) -> str:
        """Put the head set into the basket and return its name there."""
        return self.basket.add(self.set_name(), self.head_set(), self.fit.embedding.model)

    def keep_head(self) -> str:
        """Put the head alone into the basket and return its name there."""
        alone = HeadSet.of(self.fit.gates.grid, [self.head])
        return self.basket.add(str(self.head), alone, self.fit.embedding.model)
