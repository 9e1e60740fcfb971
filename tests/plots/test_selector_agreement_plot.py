import numpy as np
import pytest

from site_lens import plots
from site_lens.diagnostics.selector_agreement import SelectorAgreement, compare_selectors
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores, ScoresByTask
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream

GRID = HeadGrid.full(4, 8)
EVIL = "<b>x</b>"


@pytest.fixture(scope="module")
def found() -> SelectorAgreement:
    """Three selectors on two tasks: one, its negative and a little noise, and one that is the same for both."""

    def scored(name: str, maps: list[np.ndarray]) -> ScoresByTask:
        return ScoresByTask(
            HeadScores(grid=GRID, values=values, selector=name, meaning="planted", task=f"t{i}")
            for i, values in enumerate(maps)
        )

    own = [seed_stream("own", i).normal(size=GRID.shape) for i in range(2)]
    noisy = [values + 0.01 * seed_stream("noise", i).normal(size=GRID.shape) for i, values in enumerate(own)]
    same = seed_stream("same").normal(size=GRID.shape)
    return compare_selectors({"own": scored("own", own), EVIL: scored("n", noisy), "same": scored("s", [same, same])})


def test_ranks_stand_below_the_diagonal_and_sets_less_chance_above(found: SelectorAgreement) -> None:
    z = np.array(plots.selector_agreement(found).data[0].z, dtype=float)
    lower, upper = np.tril_indices(3, k=-1), np.triu_indices(3, k=1)
    np.testing.assert_allclose(z[lower], found.mean("spearman")[lower])
    np.testing.assert_allclose(z[upper], (found.mean("jaccard") - found.mean("chance"))[upper])
    assert np.isnan(np.diag(z)).all()


def test_ranks_of_sizes_are_drawn_when_asked_for(found: SelectorAgreement) -> None:
    z = np.array(plots.selector_agreement(found, ranks="spearman_size").data[0].z, dtype=float)
    assert z[2, 0] == pytest.approx(found.mean("spearman_size")[2, 0])
    with pytest.raises(InputError, match="spearman_size"):
        plots.selector_agreement(found, ranks="pearson")  # type: ignore[arg-type]


def test_a_dot_marks_the_sets_that_share_more_than_chance(found: SelectorAgreement) -> None:
    dots = plots.selector_agreement(found).data[1]
    assert list(zip(dots.y, dots.x, strict=True)) == [(0, 1)]


def test_the_scale_is_the_same_for_both_halves_with_chance_in_the_middle(found: SelectorAgreement) -> None:
    axis = plots.selector_agreement(found).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-1, 1)


def test_selectors_that_belong_to_the_model_have_an_asterisk_and_names_are_escaped(found: SelectorAgreement) -> None:
    figure = plots.selector_agreement(found)
    assert tuple(figure.layout.xaxis.ticktext) == ("own", "&lt;b&gt;x&lt;/b&gt;", "same*")
    assert EVIL not in figure.to_json()


def test_hover_labels_say_mean_spread_and_tasks(found: SelectorAgreement) -> None:
    text = plots.selector_agreement(found).data[0].text
    assert f"spearman {found.mean('spearman')[2, 0]:.2f}" in text[2][0]
    assert "(2 tasks)" in text[2][0]
    assert "beyond it, q < 0.05, in 100%" in text[0][1]
