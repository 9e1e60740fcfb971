"""Figures of a fit's course hold its trace: losses, alphas of all heads, of one head, and their histogram."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

import site_lens as sl
from tests.fakes import fake_fit, fake_identity

RAGGED = sl.HeadGrid((2, 0, 2))


def test_training_lines_are_the_trace_of_the_fit() -> None:
    fit = fake_fit("antonym", seed=2, status="step_limit")
    figure = sl.plots.training(fit)
    loss, valid, undecided = figure.data
    np.testing.assert_array_equal(loss.y, fit.trace.loss)
    np.testing.assert_array_equal(loss.x, np.arange(100))
    np.testing.assert_array_equal(valid.x, fit.trace.eval_steps)
    np.testing.assert_array_equal(valid.y, fit.trace.valid_loss)
    np.testing.assert_array_equal(undecided.y, fit.trace_frame()["undecided"])
    assert figure.layout.title.subtitle.text == "one seed (2), step_limit"


def test_the_histogram_holds_the_shares_of_heads_by_bin_and_blanks_empty_bins() -> None:
    """Four heads and two evaluations: all at 0.52; then three at 0.02 and one at 1."""
    fit = fake_fit("antonym", model=fake_identity(grid=RAGGED), kept_step=10)
    trace = planted_trace([np.where(RAGGED.mask, 0.52, 0), np.array([[0.02, 1], [0, 0], [0.02, 0.02]])])
    (cells,) = sl.plots.alpha_histogram(fit.replace(trace=trace)).data
    expected = np.full((20, 2), np.nan)
    expected[10, 0], expected[0, 1], expected[19, 1] = 1, 0.75, 0.25  # alpha 1 lies in the highest bin
    np.testing.assert_array_equal(cells.z, expected)
    np.testing.assert_array_equal(cells.x, [0, 10])
    np.testing.assert_allclose(cells.y, np.arange(20) / 20 + 0.025)
    assert (cells.customdata[0, 1], cells.customdata[19, 1]) == (3, 1)


def planted_trace(alphas: Sequence[ArrayLike]) -> sl.SiteTrace:
    """Plant the alphas, (layer head), of every evaluation."""
    n = len(alphas)
    return sl.SiteTrace(
        loss=[1] * 10 * (n - 1), train_rows=[[0]] * 10 * (n - 1), eval_steps=tuple(range(0, 10 * n, 10)),
        valid_loss=[1] * n, valid_accuracy=[1] * n, alphas=np.array(alphas),
    )  # fmt: skip


def test_paths_are_a_fan_of_quantiles_and_the_heads_that_changed_sides() -> None:
    fit = fake_fit("antonym", model=fake_identity(grid=sl.HeadGrid.full(1, 2)), kept_step=0)
    changed = fit.replace(trace=planted_trace([[[0.5, 0.5]], [[0.4, 0.7]], [[0.9, 0.8]]]))
    *fan, line = sl.plots.alpha_paths(changed).data
    assert line.name == "L0H0"
    np.testing.assert_allclose(line.y, [0.5, 0.4, 0.9], rtol=1e-6)
    np.testing.assert_allclose(fan[0].y, [0.5, 0.7, 0.9, 0.8, 0.4, 0.5], rtol=1e-6)  # highest, then lowest back
    np.testing.assert_allclose(fan[-1].y, [0.5, 0.55, 0.85], rtol=1e-6)
    stayed = fit.replace(trace=planted_trace([[[0.5, 0.5]], [[0.4, 0.7]], [[0.1, 0.8]]]))
    for none in (sl.plots.alpha_paths(changed, most=0), sl.plots.alpha_paths(stayed)):
        assert len(none.data) == len(fan)
