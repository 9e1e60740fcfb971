"""Figures of a fit's course hold its trace: losses, alphas of all heads, of one head, and their histogram."""

import numpy as np
import plotly.graph_objects as go
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig, SiteTrace
from tests.fakes import fake_fit, fake_identity

RAGGED = HeadGrid((2, 0, 2))


def test_training_lines_are_the_trace_of_the_fit() -> None:
    fit = fake_fit("antonym", seed=2, status="step_limit")
    figure = plots.training(fit)
    loss, valid, undecided = figure.data
    np.testing.assert_array_equal(loss.y, fit.trace.loss)
    np.testing.assert_array_equal(loss.x, np.arange(100))
    np.testing.assert_array_equal(valid.x, fit.trace.eval_steps)
    np.testing.assert_array_equal(valid.y, fit.trace.valid_loss)
    np.testing.assert_array_equal(undecided.y, fit.trace_frame()["undecided"])
    assert figure.layout.title.subtitle.text == "one seed (2), step_limit"


def test_the_kept_step_is_marked_in_every_panel_and_written_inside_the_figure() -> None:
    for kept, side in ((0, "left"), (50, "center"), (100, "right")):
        fit = fake_fit("antonym", kept_step=kept)
        for draw, n_panels in ((plots.training, 2), (plots.alpha_paths, 1), (plots.alpha_histogram, 1)):
            figure = draw(fit)
            assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(kept, kept)] * n_panels
            assert [(note.text, note.xanchor) for note in figure.layout.annotations] == [(f"kept: step {kept}", side)]


def test_fits_of_a_single_step_can_be_drawn() -> None:
    fit = fake_fit("antonym", config=SiteConfig(n_steps=1, eval_every=1))
    assert len(plots.training(fit).data[0].y) == 1
    assert len(plots.alpha_paths(fit).data[1].y) == 2
    assert plots.alpha_histogram(fit).data[0].z.shape == (20, 2)


def test_every_head_has_its_path_and_the_highest_of_the_kept_gates_are_drawn_in_colour() -> None:
    model = fake_identity(grid=RAGGED)
    kept = np.zeros(RAGGED.shape)
    kept[2, 0], kept[0, 1] = 1, 0.5
    fit = fake_fit("antonym", model=model).replace(gates=HeadGates(grid=RAGGED, values=kept))
    every, first, second = plots.alpha_paths(fit, most=2).data
    n_evaluations = len(fit.trace.eval_steps)
    rows, steps = (np.append(v, np.nan).reshape(4, n_evaluations + 1) for v in (every.y, every.x))
    heads = np.append(every.customdata, [[0, 0, 0]], axis=0).reshape(4, n_evaluations + 1, 3)[:, 0].astype(int)
    assert np.isnan(rows[:, -1]).all()
    for row, at, (layer, head, rank) in zip(rows, steps, heads, strict=True):
        np.testing.assert_array_equal(row[:-1], fit.trace.alphas[:, layer, head])
        np.testing.assert_array_equal(at[:-1], fit.trace.eval_steps)
        assert fit.frame().query(f"layer == {layer} and head == {head}")["rank"].item() == rank
    assert {f"L{layer}H{head}" for layer, head, _ in heads} == set(map(str, RAGGED))
    assert (first.name, second.name) == ("L2H0", "L0H1")
    np.testing.assert_array_equal(first.y, fit.trace.alphas[:, 2, 0])
    assert first.line.color != second.line.color
    assert len(plots.alpha_paths(fit).data) == 1 + 4  # fewer heads than may be coloured
    with pytest.raises(InputError):
        plots.alpha_paths(fit, most=0)


def test_one_head_has_a_line_a_fit_with_tasks_in_colours_and_seeds_in_dashes() -> None:
    fits = [fake_fit("antonym", 0, kept_step=40), fake_fit("antonym", 1), fake_fit("synonym", 0)]
    lines = plots.head_paths(fits, "L2H3").data
    for line, fit in zip(lines, fits, strict=True):
        assert line.name == f"{fit.task}, seed {fit.seed}"
        np.testing.assert_array_equal(line.x, fit.trace.eval_steps)
        np.testing.assert_array_equal(line.y, fit.trace.alphas[:, 2, 3])
    colors, dashes = ([getattr(line.line, look) for line in lines] for look in ("color", "dash"))
    assert colors[0] == colors[1] != colors[2]
    assert dashes[0] == dashes[2] != dashes[1]
    assert [step for step, size in zip(lines[0].x, lines[0].marker.size, strict=True) if size > 4] == [40]
    for wrong, head in ((fits, "L9H0"), ([], "L0H0")):
        with pytest.raises(InputError):
            plots.head_paths(wrong, head)


def planted_histogram() -> go.Heatmap:
    """Draw a fit of four heads with two evaluations: all at 0.52; then three at 0.02 and one at 1."""
    start, end = np.where(RAGGED.mask, 0.52, 0), np.array([[0.02, 1], [0, 0], [0.02, 0.02]])
    trace = SiteTrace(loss=[1] * 10, train_rows=[[0]] * 10, eval_steps=(0, 10), valid_loss=[1, 0],
                      valid_accuracy=[0, 1], alphas=[start, end])  # fmt: skip
    fit = fake_fit("antonym", model=fake_identity(grid=RAGGED), kept_step=10).replace(trace=trace)
    return plots.alpha_histogram(fit).data[0]


def test_the_histogram_holds_the_shares_of_heads_by_bin_and_blanks_empty_bins() -> None:
    cells = planted_histogram()
    expected = np.full((20, 2), np.nan)
    expected[10, 0], expected[0, 1], expected[19, 1] = 1, 0.75, 0.25  # alpha 1 lies in the highest bin
    np.testing.assert_array_equal(cells.z, expected)
    np.testing.assert_array_equal(cells.x, [0, 10])
    np.testing.assert_allclose(cells.y, np.arange(20) / 20 + 0.025)
    np.testing.assert_allclose(cells.customdata[0, 1], [3, 0, 0.05])
    np.testing.assert_allclose(cells.customdata[19, 1], [1, 0.95, 1])
