"""What was kept comes out again, as JSON and as Python."""

import ast
import json

import pytest

from site_lens.explorer.basket import Basket
from site_lens.heads.head_set import HeadGrid, HeadSet
from site_lens.records.errors import InputError
from tests.fakes import GRID, fake_identity

ONE, TWO = HeadSet.of(GRID, ["L3H7", "L0H1"]), HeadSet.of(GRID, ["L5H5"])


def filled() -> Basket:
    basket = Basket()
    basket.add("antonym: top 2", ONE, fake_identity())
    basket.add('a "name" with \\ and é', TWO, fake_identity("other"))
    return basket


def test_sets_are_read_back_from_the_json() -> None:
    read = json.loads(filled().to_json())["head_sets"]
    assert {
        name: HeadSet.of(HeadGrid(tuple(one["heads_per_layer"])), one["heads"]) for name, one in read.items()
    } == dict(filled())
    assert read["antonym: top 2"]["heads"] == ["L0H1", "L3H7"]
    assert read["antonym: top 2"]["model"] == "fake-model"
    assert read["antonym: top 2"]["weights_digest"] == fake_identity().weights_digest


def test_an_empty_basket_is_json_too() -> None:
    assert json.loads(Basket().to_json())["head_sets"] == {}


def test_sets_are_read_back_from_the_python_literal() -> None:
    read = ast.literal_eval(filled().to_python())
    assert {name: HeadSet.of(GRID, heads) for name, heads in read.items()} == dict(filled())


def test_the_same_set_is_kept_once_and_another_of_its_name_beside_it() -> None:
    basket = Basket()
    names = [basket.add("a", heads, fake_identity()) for heads in (ONE, ONE, TWO, TWO, ONE)]
    assert names == ["a", "a", "a (2)", "a (2)", "a"]
    assert dict(basket) == {"a": ONE, "a (2)": TWO}


def test_a_set_is_taken_out_by_name() -> None:
    basket = filled()
    basket.remove("antonym: top 2")
    assert len(basket) == 1
    with pytest.raises(InputError, match="unknown head set 'antonym: top 2'"):
        basket.remove("antonym: top 2")
