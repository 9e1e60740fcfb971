"""State of the explorer: the fit, its comparison, the head, the cut that makes a head set, and the basket.

Plain values and methods; the panels read them and call them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import and_, or_, sub
from pprint import pformat
from typing import TYPE_CHECKING, Any, Literal, get_args

from site_lens._version import __version__
from site_lens.heads.head_set import Head, HeadSet
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.models.identity import ModelIdentity
from site_lens.records.errors import InputError, unknown_name
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit

if TYPE_CHECKING:
    from site_lens.methods.live import LiveModel

Rule = Literal["threshold", "top"]
Part = Literal["first", "second", "both", "either", "only_first", "only_second"]
"""Part of a comparison: one of two head sets, what they share, their union, or what one has alone."""

PARTS: dict[Part, tuple[str, str, Callable[[HeadSet, HeadSet], HeadSet]]] = {
    "first": ("of the first", "{0}", lambda first, second: first),
    "second": ("of the second", "{1}", lambda first, second: second),
    "both": ("of both", "{0} and {1}", and_),
    "either": ("of either", "{0} or {1}", or_),
    "only_first": ("of the first alone", "{0} without {1}", sub),
    "only_second": ("of the second alone", "{1} without {0}", lambda first, second: second - first),
}
"""Label of each part, its name, given the keys of two fits, and the part itself, given their head sets."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Rule by which scores become a head set; both numbers are kept while the other one rules."""

    rule: Rule = "threshold"
    threshold: float = 0.5
    k: int = 10

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise unknown_name("rule", self.rule, get_args(Rule))
        if not 0 <= self.threshold <= 1 or self.k < 0:
            raise InputError(f"a threshold lies in [0, 1] and k is at least 0, got {self.threshold} and {self.k}")

    def of(self, scores: HeadScores) -> HeadSet:
        """Return the heads above the threshold or the k highest; of a grid with fewer heads all of them."""
        if self.rule == "threshold":
            return scores.above(self.threshold)
        return scores.top(min(self.k, len(scores.grid)))

    def __str__(self) -> str:
        return f"alpha > {self.threshold:.2f}" if self.rule == "threshold" else f"top {self.k}"


class Basket(dict[str, HeadSet]):
    """Head sets by name, in the order in which they were added; the model that the heads belong to is kept, too."""

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, ModelIdentity] = {}

    def __missing__(self, name: str) -> HeadSet:
        raise unknown_name("head set", name, self)

    def add(self, name: str, heads: HeadSet, model: ModelIdentity) -> str:
        """Add a set and return its name; another set of the same name is added beside it as `name (2)`."""
        wanted, n = name, 1
        while name in self and (self[name], self._models[name]) != (heads, model):
            n += 1
            name = f"{wanted} ({n})"
        self[name], self._models[name] = heads, model
        return name

    def to_json(self) -> str:
        """Write all sets as JSON: the names of the heads, their grid, and the model."""
        sets = {
            name: {
                "heads": [str(head) for head in heads],
                "heads_per_layer": list(heads.grid.heads_per_layer),
                "model": self._models[name].name,
                "weights_digest": self._models[name].weights_digest,
            }
            for name, heads in self.items()
        }
        return json.dumps({"site_lens": __version__, "head_sets": sets}, indent=1, ensure_ascii=False) + "\n"

    def to_python(self) -> str:
        """Write all sets as a Python literal, `{name: ["L3H7", ...]}`; `HeadSet.of(grid, names)` takes such a list."""
        sets = {name: [str(head) for head in heads] for name, heads in self.items()}
        return pformat(sets, width=100, sort_dicts=False) + "\n"


class Exploration:
    """State of an explorer over one run.

    Args:
        run: The run; needs at least one fit.
        live: A model that answers queries, if there is one.

    Raises:
        InputError: The run has no fits.
    """

    def __init__(self, run: Run, live: "LiveModel | None" = None) -> None:
        if not run.fits:
            raise InputError("there are no fits to explore; fit some tasks first, with fit_site(model, tasks)")
        self.run, self.live = run, live
        self.awaited: str | None = None
        """Name of the model that is being loaded."""
        self.basket = Basket()
        self.other_key: str | None = None
        """Key of the fit that the first one is compared with."""
        self.part: Part = "first"
        """Part of the comparison whose heads are outlined and injected."""
        self.rounded = False
        """Whether heads of the set are replaced wholly (alpha 1) instead of by their fitted alphas."""
        self.key = next(iter(run.fits))
        """Key of the fit that is shown."""
        self.cut = Cut(k=max(1, round(self.fit.gates.mass())))
        self.head = _first(run, self.fit)
        self.query = next(iter(self.queries()), "")

    def attach(self, live: "LiveModel") -> None:
        """Let a model answer from now on."""
        self.live, self.awaited = live, None
        self.query = next(iter(self.queries()), "")

    @property
    def fit(self) -> SiteFit:
        """The fit that is shown."""
        return self.run.fits[self.key]

    @property
    def other(self) -> SiteFit | None:
        """The fit that it is compared with."""
        return None if self.other_key is None else self.run.fits[self.other_key]

    def select(self, key: str) -> None:
        """Show another fit; comparison and head are kept if they fit its grid; raises InputError for no fit."""
        fit = self.run.fits[key]
        self.key = key
        if self.other_key not in self.comparable():
            self.compare(None)
        if self.head not in fit.gates.grid:
            self.head = _first(self.run, fit)
        self.query = next(iter(self.queries()), "")

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
            self.run.fits[key]  # raises, with the known keys, if there is none
            raise InputError(f"{key!r} cannot be compared with {self.key!r}: it is the same fit or has another grid")
        self.other_key = key
        if key is None:
            self.part = "first"

    def choose(self, head: Head | str) -> None:
        """Show a head; raises InputError if there is none of that name in the grid."""
        self.fit.gates[head]  # raises if there is none
        self.head = Head.parse(head) if isinstance(head, str) else head

    def recut(self, **changes: Any) -> None:
        """Change the rule, the threshold or k; raises InputError if one of them lies outside its range."""
        self.cut = replace(self.cut, **changes)

    def choose_part(self, part: Part) -> None:
        """Choose a part of the comparison; raises InputError if there is no such part, or no comparison."""
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
        if part != "first" and self.other_key is None:
            raise InputError(f"{part!r} needs a second fit; compare with one first")
        self.part = part

    def head_set(self) -> HeadSet:
        """Return the heads that the cut lets in, of the chosen part."""
        first = self.cut.of(self.fit.gates)
        return first if self.other is None else PARTS[self.part][2](first, self.cut.of(self.other.gates))

    def set_name(self) -> str:
        """Return a name of the head set: its fits, the part and the cut."""
        return f"{PARTS[self.part][1].format(self.key, self.other_key)}: {self.cut}"

    def gates(self) -> HeadGates:
        """Return the gates to inject: the fitted alphas of the head set, or 1 where they are rounded; 0 elsewhere."""
        heads, fitted = self.head_set(), self.fit.gates
        return HeadGates.of(heads, task=self.fit.task, mix=fitted.mix) if self.rounded else fitted.only(heads)

    def queries(self) -> tuple[str, ...]:
        """Return test inputs of the task, from the model side or from the evaluations."""
        if self.live is not None and self.live.queries(self.fit):
            return self.live.queries(self.fit)
        evaluations = self.run.evaluations
        return () if evaluations is None or self.fit.task not in evaluations else evaluations[self.fit.task].queries

    def keep(self) -> str:
        """Add the head set to the basket and return its name there."""
        return self.basket.add(self.set_name(), self.head_set(), self.fit.embedding.model)

    def keep_head(self) -> str:
        """Add the head alone to the basket and return its name there."""
        alone = HeadSet.of(self.fit.gates.grid, [self.head])
        return self.basket.add(str(self.head), alone, self.fit.embedding.model)


def _first(run: Run, fit: SiteFit) -> Head:
    """Return the head to begin with: of the chosen ones that gains most alone, else the one of highest alpha."""
    path = run.paths.get(fit.task)
    chosen = path.ranked if path is not None and path.model.grid == fit.gates.grid else ()
    return next(iter([*chosen, *fit.gates.top(1), *fit.gates.grid]))
