"""Head scores in the format of the MIB benchmark: node scores of a graph, as EAP-IG reads them."""

import json
from pathlib import Path
from typing import Any

from site_lens.heads.scores import HeadScores
from site_lens.records.errors import InputError
from site_lens.records.outputs import write_file


def mib_graph(scores: HeadScores, *, d_model: int, n_in_graph: int, parallel: bool = False) -> dict[str, Any]:
    """Return head scores as a graph of the circuit format of EAP-IG, which the MIB benchmark takes.

    Heads are nodes `a{layer}.h{head}` with a score; those of the highest scores are in the graph. The input, the MLPs
    and the logits are in the graph without a score, which EAP-IG takes as: always keep. There are no edges.

    Args:
        scores: Scores of the heads.
        d_model: Width of the residual stream.
        n_in_graph: Heads in the graph, highest scores first.
        parallel: Whether MLPs read beside attention, as in GPT-J and GPT-NeoX, instead of behind it.

    Raises:
        InputError: Layers have different numbers of heads, which the format does not know; there are fewer heads than
            are to be in the graph; or all scores are alike and some heads alone are asked for.

    Reference: Hanna et al., arXiv 2403.17806, code (`Graph.from_json`); Mueller et al., arXiv 2504.13151.

    Example:
        >>> import numpy as np, site_lens as sl
        >>> scores = sl.HeadScores(
        ...     grid=sl.HeadGrid.full(1, 2), values=np.array([[0.5, 2]]), selector="planted", meaning="planted"
        ... )
        >>> sl.mib_graph(scores, d_model=8, n_in_graph=1)["nodes"]["a0.h1"]
        {'in_graph': True, 'score': 2.0}
    """
    grid = scores.grid
    if len(set(grid.heads_per_layer)) > 1:
        raise InputError(f"MIB's format has as many heads in every layer, and this model has {grid}")
    chosen = scores.top(n_in_graph)
    if len(chosen) < n_in_graph:
        raise InputError(f"{chosen.reason}; put all of the heads in the graph, or none")
    nodes: dict[str, dict[str, Any]] = {"input": {"in_graph": True}}
    for head in grid:
        nodes[f"a{head.layer}.h{head.head}"] = {"in_graph": head in chosen, "score": scores[head]}
    nodes |= {f"m{layer}": {"in_graph": True} for layer in range(grid.n_layers)} | {"logits": {"in_graph": True}}
    cfg = {"n_layers": grid.n_layers, "n_heads": grid.n_heads, "parallel_attn_mlp": parallel, "d_model": d_model}
    return {"cfg": cfg, "nodes": nodes, "edges": {}}


def write_mib_graph(
    scores: HeadScores,
    path: str | Path,
    *,
    d_model: int,
    n_in_graph: int,
    parallel: bool = False,
    replace: bool = False,
) -> Path:
    """Write head scores as a JSON graph of the MIB benchmark; see `mib_graph`.

    Args:
        scores: Scores of the heads.
        path: Where to write.
        d_model: Width of the residual stream.
        n_in_graph: Heads in the graph, highest scores first.
        parallel: Whether MLPs read beside attention.
        replace: Write over any file that is there.

    Returns:
        The path.

    Raises:
        InputError: See `mib_graph`; or the name is empty.
        StorageError: There is another file, or the folder cannot be written.
    """
    graph = mib_graph(scores, d_model=d_model, n_in_graph=n_in_graph, parallel=parallel)
    return write_file(json.dumps(graph, indent=1).encode(), path, replace=replace)
