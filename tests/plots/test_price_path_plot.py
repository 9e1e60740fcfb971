"""Figures of head paths: lines are the means that the record holds, and the chosen set and price are marked."""

import numpy as np
import pytest

import site_lens as sl
from site_lens import plots
from site_lens.site.head_path import HeadPaths
from tests.site.test_head_path import fake_path

PATH = fake_path(((8, 8), (3, 5), (1, 1)), ((0.5, 0.5), (0.55, 0.57), (1.9, 1.9)))


def test_lines_are_means_over_fits_and_the_chosen_price_is_marked() -> None:
    figure = plots.price_path(PATH)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [tuple(line.x) for line in lines] == [("0", "0.01", "0.03")] * 2
    assert np.allclose(lines[0].y, [PATH.right[PATH.of("task", price)].mean() for price in PATH.prices()])
    assert tuple(lines[1].y) == (8, 4, 1)
    marked = {shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1}
    assert PATH.chosen is not None and marked == {PATH.prices().index(PATH.chosen.price)}
    never = plots.price_path(fake_path(((8,), (3,), (1,)), ((1.95,), (1.97,), (2.0,)))).layout
    assert never.title.subtitle.text == "No set found"
    assert not [shape for shape in never.shapes if shape.x0 == shape.x1]


def test_small_maps_show_the_kinds_of_heads_and_dots_on_the_chosen_set_alone() -> None:
    path = fake_path(((6, 6), (2, 3)), ((0.5, 0.5), (0.5, 0.51)), prices=(-0.01, 0.01))
    assert path.chosen is not None and path.kinds is not None
    never = fake_path(((8,), (3,)), ((1.95,), (1.97,)), prices=(-0.01, 0.01), shared_noise=0.01, noise=0.3)
    assert never.chosen is None
    maps = [trace for trace in plots.head_sets(HeadPaths([path, never.replace(task="b")])).data if trace.x != (None,)]
    (drawn, dots, empty, no_dots) = maps
    values = {"open": 1, "free": 0, "closed": -1}
    for head, kind in path.kinds.items():
        place = sl.Head.parse(head)
        assert drawn.z[place.layer][place.head] == values[kind], head
    assert [sl.Head(layer, head) for layer, head in zip(dots.y, dots.x, strict=True)] == list(path.chosen.heads)
    assert not np.any(empty.z) and not no_dots.x
    with pytest.raises(sl.InputError):
        plots.head_sets(HeadPaths([]))
