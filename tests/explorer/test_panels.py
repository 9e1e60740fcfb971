"""Panels of the explorer: they show the state and change it; no browser is needed to test that."""

import ast
import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from plotly.callbacks import InputDeviceState, Points

import site_lens as sl
from site_lens.explorer.state import Exploration
from site_lens.explorer.view import Explorer
from tests.explorer.looking import FakeLive, fake_run
from tests.fakes import GRID


def opened(run: sl.Run | None = None, live: FakeLive | None = None) -> Explorer:
    return Explorer(Exploration(run or fake_run(), live))  # type: ignore[arg-type]


def outlined(explorer: Explorer, name: str = "set") -> sl.HeadSet:
    """Read the outlined heads off the map."""
    (trace,) = [trace for trace in explorer.map.figure.data if trace.name == name]
    corners = zip(trace.x or (), trace.y or (), strict=True)
    places = {(round(y), round(x)) for x, y in corners if x is not None}
    return sl.HeadSet.of(GRID, [f"L{layer}H{head}" for layer, head in places])


def click(explorer: Explorer, layer: int, head: int) -> None:
    points = Points(point_inds=[[layer, head]], xs=[head], ys=[layer], trace_index=0)
    explorer.map.figure.data[0]._dispatch_on_click(points, InputDeviceState())


def test_a_click_on_the_map_shows_the_head() -> None:
    explorer = opened()
    click(explorer, 2, 1)
    assert str(explorer.state.head) == explorer.map.head.value == "L2H1"
    assert outlined(explorer, "chosen") == sl.HeadSet.of(GRID, ["L2H1"])
    assert "L2H1: layer 2, head 1" in explorer.head.title.value
    assert "answer 0.80" in explorer.head.facts.value
    assert "&#x27;cold&#x27;" in explorer.head.facts.value
    np.testing.assert_array_equal(explorer.head.figure.data[0].y, explorer.state.fit.trace.alphas[:, 2, 1])
    explorer.map.task.value = "synonym"  # which draws the map anew
    click(explorer, 1, 4)
    alphas = explorer.state.run.fits["synonym"].trace.alphas
    np.testing.assert_array_equal(explorer.head.figure.data[0].y, alphas[:, 1, 4])


def test_sliders_outline_the_head_set() -> None:
    explorer = opened()
    gates = explorer.state.fit.gates
    assert outlined(explorer) == gates.above(0.5)
    explorer.map.threshold.value = 0.9
    assert outlined(explorer) == explorer.head_set == gates.above(0.9)
    explorer.map.rule.value = "top"
    assert (explorer.map.threshold.layout.display, explorer.map.k.layout.display) == ("none", "")
    for k in (3, 0):
        explorer.map.k.value = k
        assert outlined(explorer) == gates.top(k)
        assert f"{k} of 48 heads" in explorer.map.summary.value
    explorer.state.recut(rule="top", k=5)  # from Python
    explorer.refresh()
    assert outlined(explorer) == gates.top(5)
    assert explorer.map.k.value == 5


def test_a_comparison_draws_the_difference_and_offers_parts() -> None:
    explorer = opened()
    assert explorer.map.part.layout.display == "none"
    explorer.map.other.value = "synonym"
    fits = explorer.state.run.fits
    first, second = fits["antonym"].gates, fits["synonym"].gates
    np.testing.assert_allclose(explorer.map.figure.data[0].z, first.values - second.values, atol=1e-6)
    explorer.map.part.value = "both"
    assert outlined(explorer) == first.above(0.5) & second.above(0.5)
    assert [trace.name for trace in explorer.head.figure.data] == ["antonym, seed 0", "synonym, seed 0"]
    explorer.map.other.value = ""
    assert explorer.map.part.layout.display == "none"
    np.testing.assert_array_equal(explorer.map.figure.data[0].z, first.values)


def test_with_a_model_the_table_shows_accuracy_and_answers_under_what_is_set() -> None:
    live = FakeLive()
    explorer = opened(live=live)
    n = len(explorer.head_set)
    text = explorer.live.results.value
    for expected in (
        *(f"injected at {n} heads", f"hot under {n}", "0.900 [0.699, 0.972]", "&lt;i&gt;"),
        *("expected: cold or cool", "on 20 test queries"),
    ):
        assert expected in text
    assert "weights &lt;differ&gt;" in explorer.box.children[0].value
    explorer.map.rule.value = "top"  # the answer follows the slider, the query and the rounding
    explorer.map.k.value = 2
    assert "hot under 2" in explorer.live.results.value
    explorer.live.query.value = "big"
    assert "big under 2" in explorer.live.results.value
    assert "expected" not in explorer.live.results.value
    explorer.live.rounded.value = True
    explorer.map.task.value = "synonym"
    assert live.asked[-2:] == [("antonym", "big", 2), ("synonym", "hot", 2)]


def test_without_a_model_the_answers_that_were_kept_are_shown() -> None:
    run = fake_run()
    assert run.evaluations is not None
    said = tuple(tuple(f"{name} <{i}>" for i in range(40)) for name in run.evaluations["antonym"].methods)
    kept = sl.Evaluations([run.evaluations["antonym"].replace(top_tokens=said), run.evaluations["synonym"]])
    shown = opened(replace(run, evaluations=kept)).live.results.value
    assert "site &lt;0&gt;" in shown and "query 0" in shown and "<0>" not in shown
    assert "No answers" in opened(run).live.results.value


def test_what_is_kept_can_be_taken_along_and_out() -> None:
    explorer = opened()
    assert explorer.kept.kept.layout.display == "none"
    explorer.kept.add.click()
    explorer.kept.add_head.click()
    name = "antonym: alpha > 0.50"
    assert list(explorer.basket) == [name, str(explorer.state.head)]
    assert explorer.kept.kept.layout.display == ""
    link = re.search(r'download="head_sets.json" href="data:application/json;base64,(.*?)"', explorer.kept.link.value)
    assert link is not None
    saved = json.loads(base64.b64decode(link[1]))["head_sets"]
    assert sl.HeadSet.of(GRID, saved[name]["heads"]) == explorer.head_set
    model = explorer.state.fit.embedding.model
    assert (saved[name]["model"], saved[name]["weights_digest"]) == (model.name, model.weights_digest)
    assert json.loads(explorer.kept.text.value)["head_sets"] == saved
    explorer.kept.format.value = "Python"
    assert ast.literal_eval(explorer.kept.text.value)[name] == saved[name]["heads"]
    head = str(explorer.state.head)
    assert explorer.kept.sets.value == head  # the newest
    explorer.kept.sets.value = name
    explorer.kept.remove.click()
    assert list(explorer.basket) == [head]


def awaited(load: Callable[[], FakeLive], meanwhile: Callable[[Explorer], None]) -> Explorer:
    """Open an explorer, use it while a model is being loaded, and return it after the model has come or failed."""
    go_on = threading.Event()

    def loading() -> FakeLive:
        assert go_on.wait(30)
        return load()

    async def used() -> Explorer:
        explorer = opened()
        explorer.await_model("slow model", loading)  # type: ignore[arg-type]
        meanwhile(explorer)
        go_on.set()
        while explorer.state.awaited:
            await asyncio.sleep(0.01)
        return explorer

    return asyncio.run(used())


def test_records_can_be_clicked_while_the_model_is_loaded_and_it_answers_when_it_is_there() -> None:
    def meanwhile(explorer: Explorer) -> None:
        assert "loading slow model" in explorer.header.value
        assert "as soon as slow model is loaded" in explorer.live.results.value
        assert explorer.live.query not in explorer.live.box.children
        click(explorer, 2, 1)
        assert explorer.head.title.value == "<h3>L2H1: layer 2, head 1</h3>"

    live = FakeLive()
    explorer = awaited(lambda: live, meanwhile)
    assert id(explorer.state.live) == id(live)  # a stand-in of another class
    assert "the model is loaded" in explorer.header.value
    assert explorer.message.value == ""
    assert {explorer.live.query, explorer.live.rounded} <= set(explorer.live.box.children)
    assert explorer.attention.text in explorer.attention.box.children
    assert explorer.live.results.value == opened(live=FakeLive()).live.results.value
    assert str(explorer.state.head) == "L2H1"  # what was chosen meanwhile


@pytest.mark.parametrize("error", [sl.InputError("no <such> model"), MemoryError("too large")])
def test_a_model_that_cannot_be_loaded_is_a_message_and_the_records_stay(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> FakeLive:
        raise error

    explorer = awaited(fail, lambda explorer: None)
    assert 'role="alert"' in explorer.message.value
    assert "no &lt;such&gt; model" in explorer.message.value or "MemoryError: too large" in explorer.message.value
    assert explorer.state.live is None
    assert "no model loaded" in explorer.header.value
    assert explorer.map.figure.data
    unexpected = [record for record in caplog.records if record.exc_info and record.exc_info[1] is error]
    assert bool(unexpected) == isinstance(error, MemoryError)  # with the place, in the log
