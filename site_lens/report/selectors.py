"""Section on ways to find heads: which agree with SITE's alphas, and how far beyond chance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from site_lens import plots
from site_lens.diagnostics.selector_agreement import SelectorAgreement, compare_selectors
from site_lens.heads.scores import ScoresByTask
from site_lens.plots.section import SectionFigure
from site_lens.records.errors import InputError, MismatchError
from site_lens.report.headline import SITE

MOST_TASKS = 0.5
"""Share of the tasks from which on two selectors are said to agree beyond chance."""

N_CLOSEST = 3
"""Selectors named as closest to SITE."""

RANDOM = ("random", "random_layer_matched")
"""Selectors that are chance themselves."""


def selectors_section(scores: Mapping[str, ScoresByTask]) -> dict[str, Any] | str | None:
    """Return the section on ways to find heads, a sentence on why there is none, or None where fewer than two are."""
    if len(scores) < 2:
        return None
    first_site = {name: scores[name] for name in sorted(scores, key=lambda name: name != SITE)}
    try:
        agreement = compare_selectors(first_site)
    except (InputError, MismatchError) as why:  # no task in common, or scores of different models
        return f"The ways to find heads are not compared: {why}."
    return {
        "agreement": agreement,
        "lines": _with_site(agreement) + _cautions(agreement),
        "with_site": [_agreement_with_site(agreement, name) for name in agreement.names],
        "figure": SectionFigure("selector-agreement", plots.selector_agreement(agreement), agreement.frame()),
    }


def _agreement_with_site(agreement: SelectorAgreement, name: str) -> dict[str, float] | None:
    """Return the means of a selector's measures of agreement with SITE: None for SITE itself, and without it."""
    if SITE not in agreement.names or name == SITE:
        return None
    pair = agreement.names.index(name), agreement.names.index(SITE)
    means = {measure: agreement.mean(measure)[pair] for measure in ("spearman", "jaccard", "chance")}
    return means | {"beyond": agreement.beyond()[pair]}


def _with_site(agreement: SelectorAgreement) -> list[str]:
    """Say which selectors rank heads as SITE does, and which pick its heads more than chance."""
    if SITE not in agreement.names:
        return []
    site = agreement.names.index(SITE)
    ranks, beyond = agreement.mean("spearman")[site], agreement.beyond()[site]
    real = [i for i, name in enumerate(agreement.names) if name not in (SITE, *RANDOM)]
    if not real:
        return []
    closest = sorted(real, key=lambda i: -ranks[i])[:N_CLOSEST]
    alike = [f"{agreement.names[i]} ({beyond[i]:.0%})" for i in real if beyond[i] >= MOST_TASKS]
    sets = f"more of SITE's top {agreement.k} heads than chance, in at least half of the tasks taken one by one"
    return [
        "Closest to SITE by mean rank correlation over all heads: "
        f"{', '.join(f'{agreement.names[i]} ({ranks[i]:.2f})' for i in closest)}.",
        f"Share {sets} (share of tasks): {', '.join(alike)}."
        if alike
        else f"No selector was found to share {sets}. {_power(agreement)}",
    ]


def _power(agreement: SelectorAgreement) -> str:
    """Say how large an overlap the tests could have found."""
    testable = agreement.testable()
    if testable is None or agreement.findable is None:
        return "How large an overlap the tests could have found is not known (a record of version 0.1.0)."
    site = agreement.names.index(SITE)
    others = [i for i in range(len(agreement.names)) if i != site]
    share = float(testable[site, others].mean())
    if not share:
        return f"Among so many tests no sets of {agreement.k} heads can be told from chance."
    fewest = agreement.findable[:, site, others]
    return (
        f"Sets of {agreement.k} heads can be told from chance in {share:.0%} of the pairs and tasks; there, it takes "
        f"{np.median(fewest[fewest <= agreement.k]):.0f} shared heads (median)."
    )


def _cautions(agreement: SelectorAgreement) -> list[str]:
    """Say what a reader must know before the numbers are compared."""
    lines = []
    random = [i for i, name in enumerate(agreement.names) if name in RANDOM]
    others = [i for i in range(len(agreement.names)) if i not in random]
    if random and others:
        share = float(np.nanmean(agreement.beyond()[np.ix_(random, others)]))
        lines.append(f"False-positive rate with random scores: {share:.1%} of all pairs and tasks.")
    signed = [facts.selector for facts in agreement.selectors if facts.signed]
    if signed:
        lines.append(
            f"Ranks keep signs. {', '.join(signed)} {'has' if len(signed) == 1 else 'have'} scores below zero: heads "
            "that hurt rank last there, whereas a selector without signs puts whatever matters first. The rank "
            "correlation of sizes stands beside the other in the numbers behind the figure."
        )
    same = [facts.selector for facts in agreement.selectors if facts.same_for_all]
    if same:
        lines.append(
            f"The same for every task (asterisk): {', '.join(same)}. They say nothing of a task by themselves."
        )
    tied = [f"{facts.selector} ({facts.tied:.0%} of the tasks)" for facts in agreement.selectors if facts.tied]
    if tied:
        lines.append(
            f"Equal scores at the edge of the top {agreement.k}, which are then taken in order of layer and head: "
            f"{', '.join(tied)}. Such a set is in part arbitrary."
        )
    if agreement.left_out:
        lines.append(f"Left out, because some selector did not score them: {', '.join(agreement.left_out)}.")
    return lines
