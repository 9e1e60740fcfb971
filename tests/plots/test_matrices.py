"""Matrix plots hold the record's matrix in its order: similarity, selectors, co-clusters, attention, transfer."""

from typing import get_args

import numpy as np
import pytest

import site_lens as sl
from site_lens.plots._similarity import Measure
from site_lens.plots.theme import short
from site_lens.records.hashing import seed_stream
from tests.fakes import fake_attention, fake_transfer
from tests.plots.fakes import fake_co_clusters, fake_head_clusters, fake_overlap, fake_task_clusters, names_of

NAMES = ["antonym", "synonym", "capital"]
GRID = sl.HeadGrid.full(4, 8)


def test_similarity_is_the_measure_of_every_pair_in_order_of_the_records() -> None:
    record = fake_overlap(NAMES)
    for measure in get_args(Measure):
        figure = sl.plots.similarity(record, measure=measure)
        np.testing.assert_array_equal(figure.data[0].z, getattr(record, measure))
        scale = figure.layout.coloraxis
        assert scale.colorbar.title.text == f"{measure.replace('_', ' ').capitalize()}&nbsp;"
        assert (scale.cmin, scale.cmax) == (-1 if measure == "spearman" else 0, 1)
    assert list(figure.layout.yaxis.ticktext) == list(figure.layout.xaxis.ticktext) == NAMES
    assert tuple(figure.layout.yaxis.range) == (2.5, -0.5)  # first record on top
    np.testing.assert_array_equal(figure.data[0].customdata, np.stack([record.p_value, record.q_value], axis=2))
    assert figure.data[0].text[0][1] == "antonym<br>synonym"


def test_clusters_stand_in_leaf_order_and_show_correlations() -> None:
    for record in (fake_task_clusters(names_of(6)), fake_head_clusters(sl.HeadGrid((4, 0, 2)))):
        figure = sl.plots.similarity(record)
        order = list(record.order)
        np.testing.assert_array_equal(figure.data[0].z, 1 - record.distance[np.ix_(order, order)])
        labels = np.array(record.labels)[order]
        np.testing.assert_array_equal(figure.data[0].customdata[..., 0], np.broadcast_to(labels[:, None], (6, 6)))
        assert list(figure.layout.yaxis.ticktext) == [short(record.items[i]) for i in order]
        assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)


@pytest.fixture(scope="module")
def agreement() -> sl.SelectorAgreement:
    """Three selectors on two tasks: one, the same with a little noise, and one that is the same for both tasks."""

    def scored(name: str, maps: list[np.ndarray]) -> sl.ScoresByTask:
        return sl.ScoresByTask(
            sl.HeadScores(grid=GRID, values=values, selector=name, meaning="planted", task=f"t{i}")
            for i, values in enumerate(maps)
        )

    own = [seed_stream("own", i).normal(size=GRID.shape) for i in range(2)]
    noisy = [values + 0.01 * seed_stream("noise", i).normal(size=GRID.shape) for i, values in enumerate(own)]
    same = seed_stream("same").normal(size=GRID.shape)
    return sl.compare_selectors({"own": scored("own", own), "n": scored("n", noisy), "same": scored("s", [same, same])})


def test_selector_ranks_stand_below_the_diagonal_and_sets_less_chance_above(agreement: sl.SelectorAgreement) -> None:
    lower, upper = np.tril_indices(3, k=-1), np.triu_indices(3, k=1)
    for ranks in ("spearman", "spearman_size"):
        figure = sl.plots.selector_agreement(agreement, ranks=ranks)
        z = np.array(figure.data[0].z, dtype=float)
        np.testing.assert_allclose(z[lower], agreement.mean(ranks)[lower])
        np.testing.assert_allclose(z[upper], (agreement.mean("jaccard") - agreement.mean("chance"))[upper])
        assert np.isnan(np.diag(z)).all()
        dots = figure.data[1]
        assert list(zip(dots.y, dots.x, strict=True)) == [(0, 1)]  # sets that share more than chance
    assert tuple(figure.layout.xaxis.ticktext) == ("own", "n", "same*")
    assert f"spearman_size {agreement.mean('spearman_size')[2, 0]:.2f}" in figure.data[0].text[2][0]
    assert "beyond it, q < 0.05, in 100%" in figure.data[0].text[0][1]


def test_co_clusters_are_sorted_by_cluster_with_lines_between_the_blocks() -> None:
    tasks, heads = ["a", "b", "c"], ["L0H1", "L2H0", "L1H3"]
    alphas = np.array([[0.9, 0.1, 0.8], [0.2, 0.7, 0.0], [1.0, 0.3, 0.6]], dtype=np.float32)
    record = fake_co_clusters(tasks, heads, alphas)  # labels 0, 1, 0 in both directions
    figure = sl.plots.co_clusters(record)
    np.testing.assert_array_equal(figure.data[0].z, alphas[np.ix_([0, 2, 1], [0, 2, 1])])
    assert list(figure.layout.yaxis.ticktext) == ["a", "c", "b"]
    assert list(figure.layout.xaxis.ticktext) == ["L0H1", "L1H3", "L2H0"]
    rows, columns = figure.layout.shapes
    assert (rows.y0, rows.y1, rows.xref) == (1.5, 1.5, "paper")
    assert (columns.x0, columns.x1, columns.yref) == (1.5, 1.5, "paper")
    assert figure.data[0].text[1][0] == "c<br>L0H1"
    assert figure.data[0].customdata[1].tolist() == [1, 2, 3]  # ranks
    single = record.replace(task_labels=(0, 0, 0), head_labels=(0, 0, 0), n_clusters=1)
    assert len(sl.plots.co_clusters(single).layout.shapes) == 0


def test_attention_rows_are_those_of_the_last_token_of_the_prompt() -> None:
    sample = fake_attention("antonym")
    for prompt in (0, 1, -1):
        figure = sl.plots.attention(sample, prompt=prompt)
        np.testing.assert_allclose(figure.data[0].z, sample.pattern(prompt % 2)[:, -1])
        assert tuple(figure.layout.yaxis.ticktext) == sample.heads
        assert len(figure.layout.xaxis.ticktext) == len(sample.tokens[prompt])
        assert f"{sample.n_shots[prompt]} demonstrations" in figure.layout.title.subtitle.text
    odd = fake_attention(
        "antonym", tokens=(("Q:", " <b>", "\n\n", " "),), n_shots=(0,), patterns=np.zeros((1, 2, 4, 4))
    )
    assert sl.plots.attention(odd).layout.xaxis.ticktext == ("Q:", "&lt;b&gt;", "⏎⏎", "␣")
    with pytest.raises(sl.InputError):
        sl.plots.attention(sample, prompt=7)


def test_transfer_has_references_and_null_on_top_of_the_sources_in_order() -> None:
    matrix = fake_transfer(rates={"alphas": np.arange(25).reshape(5, 5) / 40})
    figure = sl.plots.transfer(matrix, order=(4, 3, 2, 1, 0))
    cells = figure.data[0].z
    assert np.allclose(cells[:4], np.array([[0.1], [0.6], [0.9], [0.1]]), atol=0.02)
    assert np.isnan(cells[4]).all()
    assert np.allclose(cells[5:], matrix.accuracies("alphas")[::-1, ::-1])
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    with pytest.raises(sl.InputError):
        sl.plots.transfer(matrix, order=(0, 0, 1, 2, 3))
