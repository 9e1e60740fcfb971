"""The MIB benchmark's format: every head is a node with its score, and nothing else has one."""

import json
from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.errors import InputError, StorageError


def scores(values: list[list[float]], grid: sl.HeadGrid | None = None) -> sl.HeadScores:
    array = np.array(values)
    return sl.HeadScores(
        grid=grid or sl.HeadGrid.full(*array.shape), values=array, selector="planted", meaning="planted"
    )


PLANTED = scores([[0.1, 3.0], [-2.0, 1.0], [0.0, 0.2]])


def test_every_head_is_a_node_with_its_score_and_the_highest_are_in_the_graph() -> None:
    graph = sl.mib_graph(PLANTED, d_model=16, n_in_graph=2)
    assert graph["cfg"] == {"n_layers": 3, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 16}
    assert graph["edges"] == {}
    for head in PLANTED.grid:
        node = graph["nodes"][f"a{head.layer}.h{head.head}"]
        assert node["score"] == PLANTED[head]
        assert node["in_graph"] == (head in PLANTED.top(2))
    rest = {name: node for name, node in graph["nodes"].items() if not name.startswith("a")}
    assert set(rest) == {"input", "m0", "m1", "m2", "logits"}
    assert all(node == {"in_graph": True} for node in rest.values())


def test_what_is_written_is_read_back_and_nothing_is_written_over(tmp_path: Path) -> None:
    path = sl.write_mib_graph(PLANTED, tmp_path / "graph.json", d_model=16, n_in_graph=3, parallel=True)
    assert json.loads(path.read_text()) == sl.mib_graph(PLANTED, d_model=16, n_in_graph=3, parallel=True)
    with pytest.raises(StorageError):
        sl.write_mib_graph(PLANTED, path, d_model=16, n_in_graph=1)
    sl.write_mib_graph(PLANTED, path, d_model=16, n_in_graph=1, replace=True)
    assert sum(node["in_graph"] for name, node in json.loads(path.read_text())["nodes"].items() if name[0] == "a") == 1


def test_what_the_format_cannot_say_is_refused() -> None:
    ragged = scores([[1.0, 2.0], [3.0, 0.0]], sl.HeadGrid((2, 1)))
    for wrong, n_in_graph in ((ragged, 1), (PLANTED, 7), (scores([[1.0, 1.0]]), 1)):
        with pytest.raises(InputError):
            sl.mib_graph(wrong, d_model=16, n_in_graph=n_in_graph)
