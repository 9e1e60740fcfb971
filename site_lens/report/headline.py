"""Headline: mean accuracy by method, and whether SITE beats few-shot prompting, never without the gates alone."""

from dataclasses import dataclass
from typing import Any

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import FEWEST, Verdict, control_false_discoveries, verdict

SITE = "site"
SPARSE = "site_sparse"
SILENCED = "gates_sparse"


def plain_names(reference: str | None, n_shots: int, sparse: str) -> dict[str, str]:
    """Return plain words for the methods of the first screen, by name, in the order in which they are told."""
    names = {SPARSE: sparse, SITE: "SITE, all heads", SILENCED: "heads silenced", "zero_shot": "no example"}
    if reference is None:
        return names
    shots = f"{n_shots} example{'s' if n_shots != 1 else ''}"
    return {SPARSE: sparse, SITE: names[SITE], reference: shots} | names


def in_words(evaluations: Evaluations) -> str:
    """Say how often the model is right with the chosen heads, after examples, with the heads silenced, and alone."""
    n_shots = next(iter(evaluations.values())).n_shots
    ways = [
        (SPARSE, "With the task embedding in their place the model is right"),
        (evaluations.reference, f"after {n_shots} examples"),
        (SILENCED, "with no more heads silenced"),
        ("zero_shot", "without an example"),
    ]
    parts = []
    for method, words in ways:
        if method is not None and len(evaluations.having(method)) == len(evaluations):
            mean = evaluations.mean(method)
            share = f"{mean.value * mean.n:.0f} of {mean.n} queries" if len(evaluations) == 1 else f"{mean.value:.0%}"
            parts.append(f"{words} on {share}")
    over = "" if len(evaluations) == 1 else f" (means of {len(evaluations)} tasks)"
    return f"{', '.join(parts)}{over}."


def judged(
    evaluations: Evaluations,
    method: str,
    over: str,
    one: str,
    other: str,
    *,
    above: str = "",
    below: str = "",
    metric: Match = "first_token",
) -> str:
    """Compare two methods in a sentence: over tasks, or task by task where tasks are too few for a verdict over them.

    Verdicts task by task are over queries, with the false discovery rate controlled over the tasks.
    """
    over_tasks = evaluations.compare(method, over, metric)
    if len(evaluations) == 1 or over_tasks.verdict != "too few":
        return over_tasks.sentence(one, other, above=above, below=below)
    compared = {task: each.compare(method, over, metric) for task, each in evaluations.items()}
    q_values = control_false_discoveries([paired.p_value for paired in compared.values()])
    tasks: dict[Verdict, list[str]] = {}
    for (task, paired), q_value in zip(compared.items(), q_values, strict=True):
        tasks.setdefault(verdict(paired.estimate, float(q_value), paired.over), []).append(task)
    words: dict[Verdict, str] = {
        "above": f"{one} better than {other}",
        "below": f"{one} worse than {other}",
        "not found": f"no difference found between {one} and {other}",
        "too few": f"no verdict, which takes {FEWEST['queries']} queries,",
    }
    told = [
        f"{text} in {len(tasks[found])} of {len(compared)} tasks ({', '.join(tasks[found])})"
        for found, text in words.items()
        if found in tasks
    ]
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."


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
            verdict=judged(together, SITE, method, "SITE", name, above=above, below=below, metric=metric),
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
