"""Sections across tasks: shared heads, layers, groups of tasks; or a word on why there are none."""

from functools import reduce
from itertools import combinations
from operator import and_

import numpy as np
import pandas as pd

from site_lens import plots
from site_lens.diagnostics.co_clusters import cocluster
from site_lens.diagnostics.head_overlap import Overlap, head_overlap
from site_lens.diagnostics.seed_agreement import Agreement, seed_agreement
from site_lens.diagnostics.task_clusters import TaskClusters, cluster_tasks
from site_lens.heads.scores import HeadGates
from site_lens.plots.section import Section, SectionFigure, signed, with_interval
from site_lens.records.wording import listed
from site_lens.report.facts import spread_table
from site_lens.site.fit import SiteFits
from site_lens.stats.paired_tests import SIGNIFICANT

MIN_ALPHA = 0.1
"""Heads that no task opens further are left out of the blocks of tasks and heads."""

FEWEST_TO_GROUP = 8
"""Tasks below which sentences stand in place of matrices and groups."""
MOST_TASKS = 12
"""Tasks whose heads are named, those that are open in the fits of all seeds."""


def across_tasks(fits: SiteFits, dense: SiteFits | None = None) -> list[Section]:
    """Return the sections across tasks.

    Args:
        fits: What tasks are compared by: the chosen head sets, or all fits.
        dense: The fits of all seeds, whose agreement is told; `fits` when None.
    """
    n_tasks = len({fit.task for fit in fits.values()})
    every = fits if dense is None else dense
    if len({fit.gates.grid for fit in (*fits.values(), *every.values())}) > 1:
        different = "The fits stand over different grids of heads; a head of one is none of the other."
        return [Section("Across tasks", [different])]
    agreement, seeds = seed_agreement(fits), seed_agreement(every)
    sections = [_seeds(every, seeds)]
    if n_tasks < 2:
        return [*sections, Section("Across tasks", ["Only one task has a map: there is nothing to compare it with."])]
    means = {
        task.task: HeadGates(grid=agreement.grid, values=np.clip(mean, 0, 1), task=task.task)
        for task, mean in zip(agreement.tasks, agreement.mean, strict=True)
    }
    overlap = head_overlap(means)
    if n_tasks < FEWEST_TO_GROUP:
        pairs = [f"{overlap.sentence(*names)}." for names in combinations(overlap.names, 2)]
        few = (
            "Each p-value stands for its pair alone. Matrices, maps and groups of tasks are drawn from "
            f"{FEWEST_TO_GROUP} tasks on; here are {n_tasks}."
        )
        return [*sections, Section("Which tasks share heads", [*_overlap_lines(overlap), *pairs, few])]
    layers = SectionFigure("layer-profile", plots.layer_profile(overlap), overlap.layer_frame())
    sections += [_overlap(overlap), Section("Where in the model", ["Mean alpha of the heads of each layer."], [layers])]
    n_maps = sum(not gates.is_flat for gates in means.values())
    if n_maps < FEWEST_TO_GROUP:
        line = f"Of {n_tasks} tasks {n_maps} have a map: groups are looked for from {FEWEST_TO_GROUP} on."
        return [*sections, Section("Groups of tasks", [line])]
    sections.append(_groups(cluster_tasks(fits)))
    if agreement.mean.max() <= MIN_ALPHA:
        return [*sections, Section("Tasks with their heads", ["No head is open in any task."])]
    blocks = cocluster(fits, min_alpha=MIN_ALPHA)
    line = f"Tasks and heads in {blocks.n_clusters} blocks (spectral co-clustering)."
    figure = SectionFigure("co-clusters", plots.co_clusters(blocks), blocks.frame())
    return [*sections, Section("Tasks with their heads", [line], [figure], blocks.notes)]


def _seeds(fits: SiteFits, agreement: Agreement) -> Section:
    """Say how far the dense fits of a task agree, and which heads are open in all of them."""
    several = [task for task in agreement.tasks if task.n_fits > 1]
    between = [task.elsewhere for task in agreement.tasks if task.elsewhere is not None]
    within = [task.own for task in several if task.own is not None]
    lines = [
        f"Maps of the same task from different seeds correlate {signed(float(np.mean(within)))} on average, "
        f"{signed(min(within))} where they agree least."
        if within
        else "Every task has one dense fit: how much of its alpha map is chance is not known. Fit with several seeds "
        'and init="random" before you read a single map as the truth.'
    ]
    if between:
        lines.append(f"Maps of different tasks correlate {signed(float(np.mean(between)))} on average.")
    for task in several[:MOST_TASKS]:
        open_in_all = reduce(and_, (fit.gates.above(0.5) for fit in fits.of(task.task)))
        verb = "is" if len(open_in_all) == 1 else "are"
        which = f": {listed(open_in_all)}" if open_in_all else ""
        n = len(fits.one_grid())
        lines.append(f"{task.task}: {len(open_in_all)} of {n} heads {verb} open in all {task.n_fits} fits{which}.")
    figures = []
    if len(agreement.tasks) == 1 and several:  # of more tasks, it stands in the section of each
        own = list(fits.values())
        figures.append(SectionFigure("seeds", plots.alpha_spread(own), spread_table(own)))
    return Section("How far do the seeds agree?", lines, figures)


def _overlap_lines(overlap: Overlap) -> list[str]:
    every = overlap.frame()
    table = every[(every["n_record"] > 0) & (every["n_other"] > 0)]
    n_significant = int((table["q_value"] < SIGNIFICANT).sum())
    testable = table["findable"] <= table[["n_record", "n_other"]].min(axis=1)
    lines = [
        f"{n_significant} of {len(table)} pairs of tasks share more heads with alpha above 0.5 than sets with as many "
        "heads in each layer do by chance (false discovery rate below 0.05)."
    ]
    if len(table) < len(every):
        lines.append(f"{len(every) - len(table)} pairs with a task of which no head is open are left out.")
    if testable.any() and n_significant < len(table):
        lines.append(
            f"{int(testable.sum())} of {len(table)} pairs have enough open heads to be told from chance at all; there, "
            f"it takes {table['findable'][testable].median():.0f} shared heads (median)."
        )
    elif table["findable"].notna().any() and n_significant < len(table):
        lines.append("No pair has enough open heads to be told from chance.")
    lines.append(f"{len(overlap.shared())} of {len(overlap.grid)} heads are open in every task.")
    return lines


def _overlap(overlap: Overlap) -> Section:
    per_head = overlap.heads_frame().groupby(["layer", "head"], sort=False)["in_set"].sum()
    figures = [
        SectionFigure("similarity", plots.similarity(overlap), overlap.frame()),
        SectionFigure("overlap-counts", plots.overlap_counts(overlap), per_head.rename("n_tasks").reset_index()),
    ]
    return Section("Which tasks share heads", _overlap_lines(overlap), figures)


def _groups(clusters: TaskClusters) -> Section:
    n = clusters.n_clusters
    lines = [f"{n} groups of tasks by the correlation of their alphas (average linkage, best silhouette)."]
    if clusters.stability is not None:
        lines.append(
            "Resampled heads and seeds give the same groups with an adjusted Rand index (1: always, 0: chance) of "
            f"{with_interval(clusters.stability)}."
        )
    if (null := clusters.stability_by_chance) is not None:
        lines.append(
            f"Maps whose heads are shuffled within layers do so with {with_interval(null)}; as stable as here: "
            f"p = {null.p_value:.3f}."
        )
    if (families := clusters.family_agreement) is not None:
        lines.append(
            f"With the known families they agree to {with_interval(families)} "
            f"(adjusted Rand index), permutation p = {families.p_value:.3f}."
        )
    names = list(clusters.items)
    correlations = pd.DataFrame(1 - clusters.distance, columns=names).assign(task=names)
    figures = [
        SectionFigure("task-tree", plots.similarity(clusters), correlations),
        SectionFigure("task-map", plots.task_map(clusters), clusters.frame()),
    ]
    return Section("Groups of tasks", lines, figures, clusters.notes)
