"""HeadVis export: text profiles as the data folder that the HeadVis frontend reads."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from site_lens.heads.head_set import Head
from site_lens.records.outputs import named, write_output
from site_lens.studies.head_profiles.result import LEAST_RISE
from site_lens.studies.text_profiles.result import (
    FIRST,
    N_BINS,
    N_DECILES,
    OTHER,
    TextProfiles,
    distance_edges,
    distance_moments,
)

DIGITS = 4
MOST_TOKENS = 50
"""Rows of a table of tokens."""

METRICS = {
    "self_attention_score": "Mean attention of a token to itself; first token of a piece left out as a query",
    "previous_token_score": "Mean attention to the token before, the first of a piece included",
    "pattern_entropy": "Mean entropy of a token's attention, in nats",
    "qk_distance": "Mean distance in tokens, weighted by attention, first token of a piece included",
    "qk_distance_variance": "Variance of the same",
    "first_token_score": "Mean attention to the first token of a piece (BOS where there is one)",
    "duplicate_token_score": "Mean attention to earlier occurrences of the same token, if any",
    "induction_score": "Mean attention to tokens that followed earlier occurrences of the same token, if any",
    "copying_score": "Whether attending to a token raises its logit, read off the weights, from -1 to 1",
}


def export_headvis(profiles: TextProfiles, folder: str | Path, *, replace: bool = False) -> Path:
    """Write text profiles as the static `data/` folder of HeadVis, and return the folder.

    The files follow the contract in the docstrings of `data_pipeline.py` of github.com/anthropics/headvis (2026):
    `config.json`, `scatter_data.json`, `heads/L{layer}H{head}.json`, and the empty `server_config.json` and
    `attributions/manifest.json` of a folder without a backend. Build the frontend from that repository, and serve it
    beside the folder. What a record does not hold is left out: projections of Q, K, O and V, scores before the softmax,
    and attributions. Of each query the four largest attention weights are there, and 0 stands for the others. Deciles
    and `max_activation` are those of the record, which leave out the first token and the diagonal as HeadVis does.

    Args:
        profiles: The record.
        folder: The folder; it is made if need be.
        replace: Write over files that are there and hold something else.

    Raises:
        InputError: The name is empty.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.

    Example:
        >>> import site_lens as sl
        >>> model = sl.load_model("demo")
        >>> profiles = sl.text_profiles(model, ["one two one two"], ["L1H6", "L0H5"])
        >>> sorted(path.name for path in sl.export_headvis(profiles, "data").rglob("*.json"))
        ['L0H5.json', 'L1H6.json', 'config.json', 'manifest.json', 'scatter_data.json', 'server_config.json']
    """
    folder = named(folder)
    files = {folder / name: json.dumps(content).encode() for name, content in headvis_files(profiles).items()}

    def holds_the_same(there: Path) -> bool:
        return there.read_bytes() in files.values()

    write_output(files, holds_the_same, replace=replace)
    return folder


def headvis_files(profiles: TextProfiles) -> dict[str, Any]:
    """Return what the files of the data folder hold, by their path in it."""
    heads = [Head.parse(head) for head in profiles.heads]
    metrics = _metrics(profiles)
    rows = [
        {"layer": head.layer, "head": head.head} | {name: _number(values[i]) for name, values in metrics.items()}
        for i, head in enumerate(heads)
    ]
    config = {
        "model_name": profiles.model.short_name,
        "heads": [[head.layer, head.head] for head in heads],
        "n_layers": profiles.model.grid.n_layers,
        "n_heads": profiles.model.grid.n_heads,
        "n_intervals": N_DECILES,
        "metrics": list(metrics),
        "metric_descriptions": {name: METRICS[name] for name in metrics},
        "head_data_pattern": "L{layer}H{head}.json",
        "has_umap": False,
        "umap_heads": [],
        "custom_plots": [
            {"key": "qk_distance_histogram", "label": "Q-K distance, first token left out"},
            {"key": "histogram", "label": "Max activation, all pieces"},
        ],
        "custom_tables": [
            {"key": "top_query_tokens", "label": "Top query tokens"},
            {"key": "top_key_tokens", "label": "Top key tokens"},
            {"key": "written_tokens", "label": "Tokens written at the peaks of interval 10 (direct logits)"},
        ],
        "statistics_display": {"n_samples": {"label": "Pieces of text", "format": "default"}},
    }
    return {
        "config.json": config,
        "scatter_data.json": rows,
        "server_config.json": {},
        "attributions/manifest.json": {},
        **{f"heads/{head}.json": _head(profiles, i) for i, head in enumerate(heads)},
    }


def _metrics(profiles: TextProfiles) -> dict[str, np.ndarray]:
    mass = profiles.attention.sum(1).astype(np.float64)
    mean, variance = distance_moments(mass / mass.sum(1, keepdims=True))
    metrics: dict[str, np.ndarray | None] = {
        "self_attention_score": profiles.share(OTHER, 0),
        "previous_token_score": profiles.previous(),
        "pattern_entropy": profiles.entropy,
        "qk_distance": mean,
        "qk_distance_variance": variance,
        "first_token_score": profiles.share(FIRST),
        "duplicate_token_score": profiles.to_duplicate,
        "induction_score": profiles.to_induction,
        "copying_score": profiles.copying,
    }
    return {name: values for name, values in metrics.items() if values is not None and not np.isnan(values).any()}


def _head(profiles: TextProfiles, i: int) -> dict[str, Any]:
    sequences, by_query, by_key = [], Counter[str](), Counter[str]()
    active = profiles.query_activations()[i].max(-1)
    for s, decile in enumerate(profiles.deciles):
        piece = profiles.pieces[int(profiles.shown[i, s])]
        n, names = len(piece), whole_characters(piece)
        queries, links = np.nonzero(profiles.weights[i, s])
        keys = profiles.keys[i, s, queries, links].astype(int)
        values = profiles.weights[i, s, queries, links]
        for query, key, value in zip(queries.tolist(), keys.tolist(), values.tolist(), strict=True):
            if query and key:
                by_query[names[query]] += value
                by_key[names[key]] += value
        sequences.append(
            {
                "sequence_id": int(profiles.shown[i, s]),
                "interval": decile,
                "tokens": list(piece),
                "attention_indices": (queries * n + keys).tolist(),
                "attention_values": [_number(value) for value in values],
                "seq_len": n,
                "max_activation": _number(active[s]),
            }
        )
    written = zip(profiles.written_tokens[i], profiles.written[i].tolist(), strict=True)
    edges = distance_edges(profiles.attention.shape[2])
    counts = [profiles.attention[i, OTHER, a:b].sum() for a, b in zip(edges, edges[1:], strict=False)]
    return {
        "sequences": sequences,
        "qk_distance_histogram": {"bin_edges": edges, "bin_values": [_number(count) for count in counts]},
        "top_query_tokens": _table(by_query.most_common(MOST_TOKENS)),
        "top_key_tokens": _table(by_key.most_common(MOST_TOKENS)),
        "written_tokens": _table((token, logit) for token, logit in written if logit > LEAST_RISE),
        "histogram": {
            "bin_edges": [_number(edge) for edge in np.linspace(0, 1, N_BINS + 1)],
            "bin_values": profiles.activations[i].astype(int).tolist(),
        },
        "statistics": {"n_samples": profiles.n_pieces},
    }


def whole_characters(piece: tuple[str, ...]) -> list[str]:
    """Name each token by its text, and by that of the token before where it is a further byte of the same character."""
    names: list[str] = []
    for token in piece:
        names.append(token or (names[-1] if names else ""))
    return names


def _table(pairs: Any) -> list[dict[str, Any]]:
    return [{"token": token, "weight": _number(weight)} for token, weight in pairs]


def _number(value: Any) -> float:
    return round(float(value), DIGITS)
