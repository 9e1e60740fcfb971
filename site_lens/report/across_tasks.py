"""What the report shows across tasks: shared heads, layers, groups of tasks; or a word on why it cannot."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from site_lens import plots
from site_lens.diagnostics.clustering import cluster_tasks, cocluster
from site_lens.diagnostics.clusters import CoClusters, Estimate, TaskClusters
from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.diagnostics.overlap import Overlap
from site_lens.diagnostics.seed_agreement import Agreement, seed_agreement
from site_lens.heads.scores import HeadGates
from site_lens.report.figures import Embedded, embed
from site_lens.site.fit import SiteFits
from site_lens.stats.paired_tests import SIGNIFICANT

MIN_ALPHA = 0.1
"""Heads that no task opens further are left out of the blocks of tasks and heads."""

FEWEST_TO_GROUP = 3
"""Tasks below which there are no groups to look for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, what to read in it, and figures; no figures where there is nothing to draw."""

    heading: str
    lines: list[str]
    figures: list[Embedded] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def across_tasks(fits: SiteFits) -> list[Block]:
    """Return the blocks of the section across tasks."""
    tasks = list(dict.fromkeys(fit.task for fit in fits.values()))
    if len({fit.gates.grid for fit in fits.values()}) > 1:
        return [
            Block("Across tasks", ["The fits stand over different grids of heads; a head of one is none of the other."])
        ]
    if len(tasks) < 2:
        return [Block("Across tasks", ["One task only: there is nothing to compare it with."])]
    agreement = seed_agreement(fits)
    overlap = head_overlap(_mean_gates(agreement))
    blocks = [_agreement(agreement), _overlap(overlap), _layers(overlap)]
    if len(tasks) < FEWEST_TO_GROUP:
        return [*blocks, Block("Groups of tasks", [f"{len(tasks)} tasks only: there are no groups to look for."])]
    blocks.append(_groups(cluster_tasks(fits)))
    if agreement.mean.max() <= MIN_ALPHA:
        return [*blocks, Block("Tasks with their heads", ["No head is open in any task."])]
    return [*blocks, _blocks_of_heads(cocluster(fits, min_alpha=MIN_ALPHA))]


def _mean_gates(agreement: Agreement) -> dict[str, HeadGates]:
    return {
        one.task: HeadGates(grid=agreement.grid, values=np.clip(mean, 0, 1), task=one.task)
        for one, mean in zip(agreement.tasks, agreement.mean, strict=True)
    }


def _agreement(agreement: Agreement) -> Block:
    within = [one.own for one in agreement.tasks if one.own is not None]
    between = [one.elsewhere for one in agreement.tasks if one.elsewhere is not None]
    lines = [f"Maps of different tasks correlate {_shown(float(np.mean(between)))} on average."]
    if within:
        lines.append(
            f"Maps of the same task from different seeds correlate {_shown(float(np.mean(within)))} on average, "
            f"{_shown(min(within))} where they agree least."
        )
    else:
        lines.append(
            "Every task was fitted once: how much of a map is chance is not known. Fit with several seeds "
            'and init="random" before you read a single map as the truth.'
        )
    return Block("Are the maps the tasks' own?", lines)


def _range(found: Estimate) -> str:
    return f"{_shown(found.value)} [{_shown(found.low)}, {_shown(found.high)}]"


def _shown(number: float) -> str:
    return f"{number:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def _overlap(overlap: Overlap) -> Block:
    table = overlap.frame()
    n_significant = int((table["q_value"] < SIGNIFICANT).sum())
    smaller = table[["n_record", "n_other"]].min(axis=1)
    testable = table["findable"] <= smaller
    lines = [
        f"{n_significant} of {len(table)} pairs of tasks share more heads with alpha above 0.5 than sets with as many "
        "heads in each layer do by chance (false discovery rate below 0.05; dots).",
        *(
            []
            if table["findable"].isna().all() or n_significant == len(table)
            else [
                f"Some overlap could have been found in {int(testable.sum())} of {len(table)} pairs; there, "
                f"{table['findable'][testable].median():.0f} shared heads or more (median) would have been."
                if testable.any()
                else "No overlap could have been found in any pair."
            ]
        ),
        f"{len(overlap.shared())} of {len(overlap.grid)} heads are open in every task.",
    ]
    counts = plots.overlap_counts(overlap)
    per_head = overlap.heads_frame().groupby(["layer", "head"], sort=False)["in_set"].sum()
    return Block(
        "Which tasks share heads",
        lines,
        [
            embed("similarity", plots.similarity(overlap), table),
            embed("overlap-counts", counts, per_head.rename("n_tasks").reset_index()),
        ],
    )


def _layers(overlap: Overlap) -> Block:
    figure = embed("layer-profile", plots.layer_profile(overlap), overlap.layer_frame())
    return Block("Where in the model", ["Mean alpha of the heads of each layer."], [figure])


def _groups(found: TaskClusters) -> Block:
    lines = [
        f"{found.n_clusters} groups of tasks by the correlation of their alphas (average linkage, best silhouette)."
    ]
    if found.stability is not None:
        lines.append(
            "Resampled heads and seeds give the same groups with an adjusted Rand index (1: always, 0: chance) of "
            f"{_range(found.stability)}."
        )
    if found.stability_by_chance is not None:
        null = found.stability_by_chance
        lines.append(
            f"Maps whose heads are shuffled within layers do so with {_range(null)}; as stable as here: "
            f"p = {null.p_value:.3f}."
        )
    if found.family_agreement is not None:
        known = found.family_agreement
        lines.append(
            f"With the known families they agree to {_range(known)} "
            f"(adjusted Rand index), permutation p = {known.p_value:.3f}."
        )
    figures = [
        embed("task-tree", plots.similarity(found), _correlations(found)),
        embed("task-map", plots.task_map(found), found.frame()),
    ]
    return Block("Groups of tasks", lines, figures, found.notes)


def _correlations(found: TaskClusters) -> pd.DataFrame:
    return pd.DataFrame(1 - found.distance, columns=list(found.items)).assign(task=list(found.items))


def _blocks_of_heads(found: CoClusters) -> Block:
    figure = embed("co-clusters", plots.co_clusters(found), found.frame())
    line = f"Tasks and heads in {found.n_clusters} blocks (spectral co-clustering)."
    return Block("Tasks with their heads", [line], [figure], found.notes)
