"""Page of text profiles: heads, their distances, and their pieces of text coloured by attention; one offline file."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from site_lens.records.terminal_escape import visible
from site_lens.report.figures import packed
from site_lens.report.page import write_page
from site_lens.studies.text_profiles.result import FIRST, OTHER, TextProfiles, distance_edges
from site_lens.studies.text_profiles.section import N_NAMED, head_line


def write_text_page(
    profiles: TextProfiles, path: str | Path, *, title: str = "What do the heads do on text?", replace: bool = False
) -> Path:
    """Write text profiles as one HTML file that asks nothing of the network, and return its path.

    It lists the heads, and shows of each how far it looks, what it writes, and its pieces of every decile; pointing at
    a token shows what it attends to. `PATH#L3H7` opens at a head. The same record gives the same bytes.

    Args:
        profiles: The record.
        path: The file; its folder is made if need be.
        title: Title of the page.
        replace: Write over any file that is there, not over an earlier page only.

    Raises:
        InputError: The path is empty, or lies among the records of a run.
        StorageError: The file cannot be written, or there is one that is no page of the toolkit, or was changed since.

    Example:
        >>> import site_lens as sl
        >>> profiles = sl.text_profiles(sl.load_model("demo"), ["one two one two"], ["L1H6"])
        >>> sl.write_text_page(profiles, "text.html").name
        'text.html'
    """
    return write_page(
        "text_profiles.html.j2",
        path,
        script="text_profiles.js",
        replace=replace,
        title=title,
        model=profiles.model.short_name,
        profiles=profiles,
        heads=_heads(profiles),
        pieces=packed(json.dumps(profiles.pieces)),
    )


def _heads(profiles: TextProfiles) -> list[dict[str, Any]]:
    """Return of each head its cells in the table, the tokens that it writes, and what the script draws."""
    copying = np.full(len(profiles.heads), np.nan) if profiles.copying is None else profiles.copying
    shares = (profiles.share(FIRST), profiles.share(OTHER, 0), profiles.previous(), profiles.to_duplicate)
    columns: list[tuple[np.ndarray, str]] = [
        *((values, "{:.0%}") for values in (*shares, profiles.to_induction)),
        (profiles.distances()[:, 3], "{:.0f}"),
        (copying, "{:+.2f}"),
    ]
    active, peaks = profiles.query_activations().max(-1), profiles.peaks()
    return [
        {
            "name": head,
            "cells": [_cell(values[i], form) for values, form in columns],
            "written": [visible(token) for token in profiles.raised(head)[:N_NAMED]],
            "data": packed(json.dumps(_drawn(profiles, i, active[i], peaks[i]), separators=(",", ":"))),
        }
        for i, head in enumerate(profiles.heads)
    ]


def _cell(value: float, form: str) -> str:
    return "" if np.isnan(value) else form.format(value).replace("-", "\N{MINUS SIGN}")


def _drawn(profiles: TextProfiles, i: int, active: np.ndarray, peaks: np.ndarray) -> dict[str, Any]:
    shown, line = [], head_line(profiles, i)
    for s, decile in enumerate(profiles.deciles):
        index = int(profiles.shown[i, s])
        n = len(profiles.pieces[index])
        shown.append(
            {
                "index": index,
                "decile": decile,
                "activation": round(float(active[s]), 4),
                "query": int(peaks[s, 0]),
                "key": int(peaks[s, 1]),
                "written": [visible(token) for token in profiles.peak_tokens[i][s]],
                "keys": profiles.keys[i, s, :n].astype(int).ravel().tolist(),
                "weights": (100 * profiles.weights[i, s, :n]).round().astype(int).ravel().tolist(),
            }
        )
    sentence = visible(line[:1].upper() + line[1:])
    return {"name": profiles.heads[i], "line": sentence, "distances": _binned(profiles, i), "pieces": shown}


def _binned(profiles: TextProfiles, i: int) -> list[tuple[str, float]]:
    """Return the attention on the first token, and on others by distance, in bins that double."""
    mass, edges = profiles.attention[i, OTHER], distance_edges(profiles.attention.shape[2])
    bins = [("first token", float(profiles.share(FIRST)[i]))]
    for start, beyond in pairwise(edges):
        end = min(beyond, len(mass))
        back = f"{start} to {end - 1} back" if end - start > 1 else f"{start} back"
        label = ("itself", "token before")[start] if start < 2 else back
        if start < end:
            bins.append((label, float(mass[start:end].sum())))
    return bins
