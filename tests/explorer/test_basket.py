"""Basket: kept head sets are read back from its JSON and its Python text."""

import ast
import json

from site_lens.explorer.state import Basket
from site_lens.heads.head_set import HeadGrid, HeadSet
from tests.fakes import GRID, fake_identity

ONE, TWO = HeadSet.of(GRID, ["L3H7", "L0H1"]), HeadSet.of(GRID, ["L5H5"])


def test_sets_are_read_back_from_json_and_python() -> None:
    basket = Basket()
    assert json.loads(basket.to_json())["head_sets"] == {}
    basket.add("antonym: top 2", ONE, fake_identity())
    basket.add('a "name" with \\ and é', TWO, fake_identity("other"))
    sets = json.loads(basket.to_json())["head_sets"]
    assert {k: HeadSet.of(HeadGrid(tuple(v["heads_per_layer"])), v["heads"]) for k, v in sets.items()} == dict(basket)
    first = sets["antonym: top 2"]
    assert (first["model"], first["weights_digest"]) == ("fake-model", fake_identity().weights_digest)
    read = ast.literal_eval(basket.to_python())
    assert {name: HeadSet.of(GRID, heads) for name, heads in read.items()} == dict(basket)
