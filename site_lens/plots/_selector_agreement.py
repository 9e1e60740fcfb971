"""Selector agreement: whether ways to score heads rank them alike and pick the same ones, beyond chance."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.selector_agreement import SelectorAgreement
from site_lens.plots.matrix import matrix
from site_lens.plots.theme import plain
from site_lens.stats.paired_tests import SIGNIFICANT

Ranks = Literal["spearman", "spearman_size"]

MOST_TASKS = 0.5
"""Share of the tasks from which on a pair has a dot."""


def selector_agreement(record: SelectorAgreement, *, ranks: Ranks = "spearman") -> go.Figure:
    """Draw how much every two selectors agree, on one scale on which 0 is what chance gives.

    Below the diagonal stands the rank correlation over all heads, above it the Jaccard index of the top k less the one
    that layer-matched random sets have; both are means over tasks. A dot marks the pairs whose top k share more heads
    than chance in at least half of the tasks (q < 0.05). An asterisk marks selectors that are the same for all tasks.

    Args:
        record: A comparison of selectors.
        ranks: Which rank correlation: of the scores with their signs, or of their absolute values.

    Returns:
        A figure of two traces: the matrix (selector other), empty on the diagonal, and the dots.

    Raises:
        InputError: There is no such rank correlation.
    """
    names = [facts.selector + "*" * facts.same_for_all for facts in record.selectors]
    values = np.tril(record.mean(ranks)) + np.triu(record.mean("jaccard") - record.mean("chance"))
    np.fill_diagonal(values, np.nan)
    return matrix(
        values,
        names,
        names,
        title="Agreement of selectors",
        subtitle=f"Lower left: ranks; upper right: top {record.k}, less chance",
        unit="0: chance",
        hover="",
        text=_words(record, ranks),
        low=-1,
        dots=np.nonzero(np.triu(record.beyond() >= MOST_TASKS, k=1)),
    )


def _words(record: SelectorAgreement, ranks: Ranks) -> list[list[str]]:
    """Say of every cell which pair it is, what was measured and how it spreads over tasks."""
    names, n_tasks, beyond = [plain(name) for name in record.names], record.n_tasks(), record.beyond()
    mean = {measure: record.mean(measure) for measure in (ranks, "jaccard", "chance")}
    spread = {measure: record.spread(measure) for measure in (ranks, "jaccard")}

    def cell(i: int, j: int) -> str:
        pair = f"{names[i]}<br>{names[j]}<br>"
        of = "one map each" if n_tasks[i, j] == 1 else f"{n_tasks[i, j]} tasks"
        if i > j:
            return f"{pair}{ranks} {mean[ranks][i, j]:.2f} ± {spread[ranks][i, j]:.2f} ({of})"
        return (
            f"{pair}Jaccard {mean['jaccard'][i, j]:.2f} ± {spread['jaccard'][i, j]:.2f} ({of})<br>"
            f"chance {mean['chance'][i, j]:.2f}; beyond it, q < {SIGNIFICANT}, in {beyond[i, j]:.0%}"
        )

    return [[cell(i, j) for j in range(len(names))] for i in range(len(names))]
