"""Basket of the explorer: head sets that were kept, and their JSON and Python text."""

import json
from collections.abc import Iterator, Mapping
from pprint import pformat

from site_lens._version import __version__
from site_lens.heads.head_set import HeadSet
from site_lens.models.identity import ModelIdentity
from site_lens.records.errors import unknown_name


class Basket(Mapping[str, HeadSet]):
    """Head sets by name, in the order in which they were added, each with the model that its heads belong to."""

    def __init__(self) -> None:
        self._sets: dict[str, tuple[HeadSet, ModelIdentity]] = {}

    def __getitem__(self, name: str) -> HeadSet:
        if name not in self._sets:
            raise unknown_name("head set", name, self._sets)
        return self._sets[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)

    def add(self, name: str, heads: HeadSet, model: ModelIdentity) -> str:
        """Add a set and return its name; another set of the same name is added beside it as `name (2)`."""
        wanted, n = name, 1
        while self._sets.setdefault(name, (heads, model)) != (heads, model):
            n += 1
            name = f"{wanted} ({n})"
        return name

    def remove(self, name: str) -> None:
        """Remove a set; raises InputError if there is none of that name."""
        self[name]
        del self._sets[name]

    def to_json(self) -> str:
        """Write all sets as JSON: the names of the heads, their grid, and the model."""
        sets = {
            name: {
                "heads": [str(head) for head in heads],
                "heads_per_layer": list(heads.grid.heads_per_layer),
                "model": model.name,
                "weights_digest": model.weights_digest,
            }
            for name, (heads, model) in self._sets.items()
        }
        return json.dumps({"site_lens": __version__, "head_sets": sets}, indent=1, ensure_ascii=False) + "\n"

    def to_python(self) -> str:
        """Write all sets as a Python literal, `{name: ["L3H7", ...]}`; `HeadSet.of(grid, names)` takes such a list."""
        sets = {name: [str(head) for head in heads] for name, heads in self.items()}
        return pformat(sets, width=100, sort_dicts=False) + "\n"
