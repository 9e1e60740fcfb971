"""Figures in a page: only traces that its scripts draw, short numbers, titles as text of the page."""

import base64
import json
import re
from html import unescape

import numpy as np
import plotly.graph_objects as go
import pytest

import site_lens as sl
from site_lens.plots.theme import TITLE, untitled
from site_lens.records.assets import asset
from site_lens.report.figures import TRACE_TYPES, on_page
from tests.fakes import fake_fit, fake_fits, fake_identity
from tests.plots.test_every_plot import PLOTS


def test_every_plot_is_drawn_by_the_bundle_in_the_assets() -> None:
    bundle = asset("plotly-cartesian.min.js")
    assert set(re.findall(r'moduleType:"trace",name:"(\w+)"', bundle)) == set(TRACE_TYPES)
    for name, draw in PLOTS.items():
        assert on_page(draw()).json, name
    with pytest.raises(sl.InputError, match="scatter3d"):
        on_page(go.Figure(go.Scatter3d(x=[1], y=[1], z=[1])))


def test_a_page_holds_the_numbers_of_a_figure_in_few_bytes() -> None:
    fit = fake_fit("antonym", model=fake_identity(grid=sl.HeadGrid.full(32, 32)))
    drawn = on_page(sl.plots.head_map(fit))
    assert len(drawn.json) < 12_000  # 1,024 alphas and ranks
    fields = json.loads(drawn.json)
    cells = fields["data"][0]["z"]
    alphas = np.frombuffer(base64.b64decode(cells["bdata"]), dtype=cells["dtype"]).reshape(32, 32)
    np.testing.assert_array_equal(alphas, fit.gates.values)
    assert "template" not in fields["layout"] and "title" not in fields["layout"]
    nothing = json.loads(on_page(go.Figure(go.Scatter(x=[1, 2], y=[0.123456789, np.nan], text=["a", "b"]))).json)
    assert nothing["data"][0]["y"] == [0.12346, None]


def test_without_a_title_a_figure_is_less_high_and_all_else_keeps_its_distance() -> None:
    figure = sl.plots.head_maps(fake_fits(["a", "b", "c", "d", "e"]), columns=3)
    drawn = on_page(figure)
    assert (drawn.title, drawn.height) == ("Alpha of every head", figure.layout.height - TITLE)
    before, after = figure.to_dict()["layout"], untitled(figure.to_dict()["layout"])
    for old, new in ((before, after), (before["meta"]["narrow"], after["meta"]["narrow"])):
        from_top = [(1 - part["coloraxis"]["colorbar"]["y"]) * part["height"] for part in (old, new)]
        assert from_top[0] - from_top[1] == pytest.approx(TITLE)
    legend = untitled(sl.plots.training(fake_fit("<b>")).to_dict()["layout"])["legend"]
    assert (1 - legend["y"]) * drawn.height < TITLE
    assert unescape(on_page(sl.plots.head_map(fake_fit("<b>"))).title) == "<b>"
    without_height = figure.update_layout(height=None).to_dict()["layout"]
    assert untitled(without_height) == {name: part for name, part in without_height.items() if name != "title"}
