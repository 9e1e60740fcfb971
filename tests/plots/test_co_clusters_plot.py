import numpy as np

from site_lens import plots
from site_lens.records.hashing import seed_stream
from tests.plots.fakes import SCRIPT, fake_co_clusters, names_of

TASKS, HEADS = ["a", "b", "c"], ["L0H1", "L2H0", "L1H3"]
ALPHAS = [[0.9, 0.1, 0.8], [0.2, 0.7, 0.0], [1.0, 0.3, 0.6]]


def test_rows_and_columns_are_sorted_by_cluster_and_keep_their_order_within() -> None:
    figure = plots.co_clusters(fake_co_clusters(TASKS, HEADS, ALPHAS))  # labels 0, 1, 0 in both directions
    order = [0, 2, 1]
    np.testing.assert_array_equal(figure.data[0].z, np.array(ALPHAS, dtype=np.float32)[np.ix_(order, order)])
    assert list(figure.layout.yaxis.ticktext) == ["a", "c", "b"]
    assert list(figure.layout.xaxis.ticktext) == ["L0H1", "L1H3", "L2H0"]
    assert tuple(figure.layout.yaxis.range) == (2.5, -0.5)  # cluster 0 on top


def test_lines_run_between_the_blocks() -> None:
    rows, columns = plots.co_clusters(fake_co_clusters(TASKS, HEADS, ALPHAS)).layout.shapes
    assert (rows.y0, rows.y1, rows.xref) == (1.5, 1.5, "paper")
    assert (columns.x0, columns.x1, columns.yref) == (1.5, 1.5, "paper")


def test_a_single_block_has_no_lines() -> None:
    one = fake_co_clusters(TASKS, HEADS, ALPHAS, task_labels=(0, 0, 0), head_labels=(0, 0, 0), n_clusters=1)
    assert len(plots.co_clusters(one).layout.shapes) == 0


def test_the_scale_is_that_of_gates() -> None:
    axis = plots.co_clusters(fake_co_clusters(TASKS, HEADS, np.zeros((3, 3)))).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, 1)
    assert axis.colorbar.title.text == "mean alpha&nbsp;"


def test_hover_names_task_layer_head_rank_and_clusters() -> None:
    cells = plots.co_clusters(fake_co_clusters(TASKS, HEADS, ALPHAS)).data[0]
    assert cells.text[1][0] == "c"
    assert cells.customdata[1].tolist() == [[0, 1, 1, 0, 0], [1, 3, 2, 0, 0], [2, 0, 3, 0, 1]]
    assert "rank %{customdata[2]} of the 3 heads here" in cells.hovertemplate


def test_57_tasks_and_many_heads_can_be_drawn() -> None:
    heads = [f"L{i // 16}H{i % 16}" for i in range(300)]
    figure = plots.co_clusters(fake_co_clusters(names_of(57), heads, seed_stream("many").random((57, 300))))
    assert figure.data[0].z.shape == (57, 300)
    assert not figure.layout.xaxis.showticklabels
    assert figure.layout.xaxis.ticktext[0] == "L0H0"
    assert figure.layout.yaxis.showticklabels


def test_names_are_escaped() -> None:
    figure = plots.co_clusters(fake_co_clusters([SCRIPT, "b", "c"], HEADS, ALPHAS))
    assert figure.data[0].text[0][0].startswith("&lt;script&gt;")
    assert "<script>" not in str(figure.to_json())
