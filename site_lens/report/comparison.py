"""Comparison page: two or more head maps, pair by pair, as one offline HTML file."""

from pathlib import Path

from site_lens import plots
from site_lens.diagnostics.head_overlap import Overlap
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.plots.section import SectionFigure
from site_lens.report.page import write_page

MOST_SENTENCES = 10
"""Pairs whose heads are named on the page, those of highest Jaccard index."""
MOST_PAIRS = 100
"""Pairs in the table of the page."""


def write_comparison(
    overlap: Overlap, path: str | Path, *, title: str = "Are they the same heads?", replace: bool = False
) -> Path:
    """Write a comparison of head maps as one HTML file that asks nothing of the network.

    Args:
        overlap: What `head_overlap` found.
        path: The file to write; its folder is made if need be.
        title: Title of the page.
        replace: Write over any file that is there, not over an earlier page only.

    Raises:
        InputError: The path is empty, or lies among the records of a run.
        StorageError: The file cannot be written, or there is one that is no page of the toolkit, or was changed since.
    """
    table = overlap.frame()
    figures = [
        SectionFigure("similarity", plots.similarity(overlap), table),
        SectionFigure("layer-profile", plots.layer_profile(overlap), overlap.layer_frame()),
        SectionFigure("overlap-counts", plots.overlap_counts(overlap), overlap.heads_frame()),
    ]
    if len(overlap.names) == 2:
        first, second = (_record(overlap, i) for i in range(2))
        difference = plots.head_difference(first, second, names=(overlap.names[0], overlap.names[1]))
        figures.insert(0, SectionFigure("difference", difference))
    pairs = table.sort_values("jaccard", ascending=False, kind="stable").to_dict("records")
    sentences = [overlap.sentence(pair["record"], pair["other"]) for pair in pairs[:MOST_SENTENCES]]
    return write_page(
        "comparison.html.j2", path, replace=replace, title=title, overlap=overlap, pairs=pairs, shown=MOST_PAIRS,
        sentences=sentences, figures=figures,
    )  # fmt: skip


def _record(overlap: Overlap, i: int) -> HeadScores:
    name, values = overlap.names[i], overlap.scores[i]
    if overlap.gates:
        return HeadGates(grid=overlap.grid, values=values, task=name)
    return HeadScores(grid=overlap.grid, values=values, selector=name, meaning="score")
