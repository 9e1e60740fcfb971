import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.errors import MismatchError
from tests.fakes import fake_fit, fake_identity

SMALL = HeadGrid.full(1, 2)
RAGGED = HeadGrid((4, 0, 2))


def scores(values: list[float], *, task: str | None = None, meaning: str = "effect on the answer") -> HeadScores:
    return HeadScores(grid=SMALL, values=[values], selector="fv", meaning=meaning, task=task)


def test_cells_are_the_first_less_the_second() -> None:
    first, second = fake_fit("antonym"), fake_fit("synonym")
    cells = plots.head_difference(first, second).data[0]
    np.testing.assert_array_equal(cells.z, first.gates.values - second.gates.values)
    np.testing.assert_array_equal(cells.customdata[..., 0], first.gates.values)
    np.testing.assert_array_equal(cells.customdata[..., 2], second.gates.values)


def test_hover_ranks_are_those_of_both_records() -> None:
    first, second = fake_fit("antonym"), fake_fit("synonym")
    numbers = plots.head_difference(first, second).data[0].customdata
    for place, fit in ((1, first), (3, second)):
        for head, rank in zip(fit.gates.grid, fit.frame()["rank"], strict=True):
            assert numbers[head.layer, head.head, place] == rank


def test_gates_keep_a_fixed_scale_from_minus_1_to_1() -> None:
    near = HeadGates.constant(SMALL, 0.5), HeadGates.constant(SMALL, 0.51)
    axis = plots.head_difference(*near).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-1, 1)
    assert axis.colorbar.title.text == "difference of alpha"
    assert axis.colorscale == plots.head_map(scores([1, -1])).layout.coloraxis.colorscale


@pytest.mark.parametrize(("second", "limit"), [([1.0, 3.0], 2.0), ([3.0, 1.0], 1.0)])
def test_scores_get_a_scale_centred_on_zero(second: list[float], limit: float) -> None:
    axis = plots.head_difference(scores([3, 1]), scores(second)).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-limit, limit)
    assert axis.colorbar.title.text.replace("<br>", " ") == "difference of effect on the answer"


def test_a_fit_and_gates_can_be_compared() -> None:
    fit = fake_fit("antonym")
    z = plots.head_difference(fit, fit.gates.hard()).data[0].z
    np.testing.assert_array_equal(z, fit.gates.values - fit.gates.hard().values)


def test_places_without_a_head_are_painted_grey() -> None:
    model = fake_identity(grid=RAGGED)
    values, grey = plots.head_difference(fake_fit("a", model=model), fake_fit("b", model=model)).data
    np.testing.assert_array_equal(np.isnan(values.z), ~RAGGED.mask)
    np.testing.assert_array_equal(np.isnan(grey.z), RAGGED.mask)


def test_both_records_are_named_with_what_tells_them_apart() -> None:
    def title(first: HeadScores, second: HeadScores) -> str:
        return str(plots.head_difference(first, second).layout.title.text)

    assert title(scores([1, 2], task="a"), scores([1, 2], task="b")) == "a minus b"
    assert title(scores([1, 2]), scores([1, 2], task="b")) == "fv minus b"
    seeds = plots.head_difference(fake_fit("a"), fake_fit("a", seed=1)).layout
    assert seeds.title.text == "a (seed 0) minus a (seed 1)"
    assert "red: higher in the first" in seeds.title.subtitle.text


def test_the_title_can_be_chosen() -> None:
    assert plots.head_difference(fake_fit("a"), fake_fit("b"), title="mine").layout.title.text == "mine"


def test_names_are_escaped_and_cannot_reach_into_the_hover_template() -> None:
    figure = plots.head_difference(fake_fit("<script>%{z}"), fake_fit("b"))
    assert figure.layout.title.text == "&lt;script&gt;%{z} minus b"
    assert "&lt;script&gt;% {z}: " in figure.data[0].hovertemplate
    assert "<script>" not in str(figure.to_json())


def test_what_cannot_be_subtracted_is_refused() -> None:
    with pytest.raises(MismatchError, match="cannot be compared head by head"):
        plots.head_difference(fake_fit("a"), fake_fit("b", model=fake_identity(grid=RAGGED)))
    with pytest.raises(MismatchError, match="different units"):
        plots.head_difference(scores([1, 2]), HeadGates.constant(SMALL, 0.5))
    with pytest.raises(MismatchError, match="different units"):
        plots.head_difference(scores([1, 2]), scores([1, 2], meaning="something else"))
