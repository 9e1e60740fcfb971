"""Headline: mean accuracy by method, and whether SITE beats few-shot prompting, never without the gates alone."""

from dataclasses import dataclass
from typing import Any

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.stats.intervals import Interval

SITE = "site"


@dataclass(frozen=True, slots=True)
class Contrast:
    """SITE against one other method."""

    verdict: str
    """The difference in accuracy with its interval and test, in a sentence."""
    means: dict[str, Interval]
    """Mean accuracy of both methods."""


@dataclass(frozen=True, slots=True)
class Headline:
    """SITE against few-shot prompting and against the gates alone, on the tasks that have all three."""

    n_tasks: int
    contrasts: tuple[Contrast, Contrast]
    """With few-shot prompting; with the gates alone, which is what the content of the embedding adds."""


def method_means(evaluations: Evaluations, metric: Match) -> list[dict[str, Any]]:
    """Return for every method its mean accuracy over the tasks that have it, their number, and its labelled rows."""
    means = []
    for method in evaluations.methods:
        having = evaluations.having(method)
        rows = {evaluation.labelled_rows[evaluation.methods.index(method)] for evaluation in having.values()}
        labelled = str(*rows) if len(rows) == 1 else f"{min(rows)} to {max(rows)}"
        mean = having.mean(method, metric)
        means.append({"method": method, "accuracy": mean, "n_tasks": len(having), "labelled": labelled})
    return means


def compare(evaluations: Evaluations, metric: Match) -> Headline | str:
    """Compare SITE with few-shot prompting and with the gates alone, or say which of the three is missing.

    Returns:
        The comparison, or a sentence on why there is none: SITE against few-shot prompting without the gates alone
        would credit the embedding with what weakening some heads does.
    """
    reference = evaluations.reference
    if reference is None:
        n_shots = sorted({evaluation.n_shots for evaluation in evaluations.values()})
        why = "it was not evaluated" if len(n_shots) == 1 else f"tasks were evaluated with {n_shots} demonstrations"
        return (
            f"SITE is not compared with few-shot prompting here: {why}. Evaluate every task with prompts of equally "
            "many demonstrations (n_eval_shots)."
        )
    prompting = f"{evaluations.evaluated[reference].n_shots}-shot prompting"
    together = evaluations.having(SITE, reference, ZERO_EMBEDDING)
    if not together:
        missing = [name for name in (SITE, reference, ZERO_EMBEDDING) if name not in evaluations.methods]
        what = f"{' and '.join(missing)} was not evaluated" if missing else "no task was evaluated with all three"
        return (
            f"SITE is not compared with {prompting} here: {what}. The comparison needs {SITE}, {reference} and, "
            f"beside them, {ZERO_EMBEDDING} (gates alone); fit with SiteConfig(embedding='zero') and evaluate again."
        )
    meanings = {
        reference: (prompting, f"SITE beats {prompting}", f"SITE falls short of {prompting}"),
        ZERO_EMBEDDING: (
            "the gates alone",
            "The content of the task embedding adds to the gates",
            "The gates alone do better than SITE",
        ),
    }
    contrasts = [
        Contrast(
            verdict=together.compare(SITE, method, metric).sentence("SITE", name, above=above, below=below),
            means={each: together.mean(each, metric) for each in (SITE, method)},
        )
        for method, (name, above, below) in meanings.items()
    ]
    return Headline(n_tasks=len(together), contrasts=(contrasts[0], contrasts[1]))


def interval_basis(n_tasks: int) -> str:
    """Return what an interval of a mean over tasks speaks of."""
    if n_tasks == 1:
        return "one task; 95% intervals over its test queries"
    return f"mean over {n_tasks} tasks, each counting once; 95% t intervals over tasks"
