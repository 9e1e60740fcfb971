import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig
from tests.fakes import fake_fit, fake_identity

RAGGED = HeadGrid((4, 0, 2))


def test_every_head_has_its_path_in_the_first_trace_with_gaps_between() -> None:
    fit = fake_fit("antonym")
    every = plots.alpha_paths(fit).data[0]
    n_evaluations, n_heads = len(fit.trace.eval_steps), len(fit.gates.grid)
    rows = np.append(every.y, np.nan).reshape(n_heads, n_evaluations + 1)
    assert np.isnan(rows[:, -1]).all()
    steps = np.append(every.x, np.nan).reshape(rows.shape)
    numbers = np.append(every.customdata, [[0, 0, 0]], axis=0).reshape(*rows.shape, 3)[:, 0]
    for row, own, (layer, head, rank) in zip(rows, steps, numbers, strict=True):
        np.testing.assert_array_equal(row[:-1], fit.trace.alphas[:, layer, head])
        np.testing.assert_array_equal(own[:-1], fit.trace.eval_steps)
        assert fit.frame().query(f"layer == {layer} and head == {head}")["rank"].item() == rank
    assert every.line.width == 1


def test_the_highest_heads_are_drawn_in_colour_in_order_of_rank() -> None:
    fit = fake_fit("antonym")
    drawn = plots.alpha_paths(fit, most=3).data[1:]
    top = fit.frame().sort_values("rank").head(3)
    assert len(drawn) == 3
    for line, layer, head in zip(drawn, top["layer"], top["head"], strict=True):
        assert line.name == f"L{layer}H{head}"
        np.testing.assert_array_equal(line.y, fit.trace.alphas[:, layer, head])
        assert "L%{customdata[0]}H%{customdata[1]}" in line.hovertemplate
        assert "rank %{customdata[2]} of 48" in line.hovertemplate
    assert len({line.line.color for line in drawn}) == 3


def test_the_highest_are_those_of_the_kept_gates_not_of_the_last_evaluation() -> None:
    fit = fake_fit("antonym")
    kept = np.zeros(fit.gates.grid.shape)
    kept[2, 5] = 1
    assert plots.alpha_paths(fit.replace(gates=HeadGates(grid=fit.gates.grid, values=kept))).data[1].name == "L2H5"


def test_the_axis_of_alpha_is_fixed_and_the_kept_step_is_marked() -> None:
    figure = plots.alpha_paths(fake_fit("antonym", kept_step=40))
    low, high = figure.layout.yaxis.range
    assert (round(low, 1), round(high, 1)) == (0, 1)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(40, 40)]
    assert [a.text for a in figure.layout.annotations] == ["kept: step 40"]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("step", "alpha")


@pytest.mark.parametrize(("kept", "side"), [(0, "left"), (50, "center"), (100, "right")])
def test_the_kept_step_is_written_inside_the_figure(kept: int, side: str) -> None:
    assert plots.alpha_paths(fake_fit("antonym", kept_step=kept)).layout.annotations[0].xanchor == side


def test_places_without_a_head_have_no_path() -> None:
    figure = plots.alpha_paths(fake_fit("antonym", model=fake_identity(grid=RAGGED)))
    assert {(int(layer), int(head)) for layer, head, _ in figure.data[0].customdata} == {
        (head.layer, head.head) for head in RAGGED
    }
    assert len(figure.data) == 1 + 6  # fewer heads than may be coloured


def test_a_fit_of_a_single_step_can_be_drawn() -> None:
    figure = plots.alpha_paths(fake_fit("antonym", config=SiteConfig(n_steps=1, eval_every=1)))
    assert len(figure.data[1].y) == 2


def test_the_task_is_escaped_and_a_fit_is_marked_as_one_seed() -> None:
    title = plots.alpha_paths(fake_fit("<script>", seed=3)).layout.title
    assert title.text == "alpha of &lt;script&gt;"
    assert title.subtitle.text == "one seed (3); coloured: the 12 highest of 48"


def test_at_least_one_head_must_be_coloured() -> None:
    with pytest.raises(InputError, match="most must be at least 1, got 0"):
        plots.alpha_paths(fake_fit("antonym"), most=0)
