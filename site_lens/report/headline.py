"""The headline: mean accuracy by method, and whether SITE beats few-shot prompting, never without the gates alone."""

from dataclasses import dataclass

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import Paired

SITE = "site"


@dataclass(frozen=True, slots=True)
class MethodMean:
    """Mean accuracy of one method over the tasks that have it."""

    method: str
    accuracy: Interval
    n_tasks: int
    labelled: str
    """Labelled rows a task, as a number or a range."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """SITE, few-shot prompting and the gates alone, on the tasks that have all three."""

    reference_name: str

    site: Interval
    reference: Interval
    zero: Interval
    gain: Paired
    """SITE minus few-shot prompting."""
    content: Paired
    """SITE minus the gates alone: what the content of the embedding adds."""
    n_tasks: int
    verdict: str
    content_verdict: str


def method_means(evaluations: Evaluations, metric: Match) -> list[MethodMean]:
    """Return the mean accuracy of every method, each over the tasks that have it."""
    found = []
    for method in evaluations.methods:
        having = evaluations.having(method)
        rows = [one.labelled_rows[one.methods.index(method)] for one in having.values()]
        labelled = str(rows[0]) if min(rows) == max(rows) else f"{min(rows)} to {max(rows)}"
        found.append(MethodMean(method, having.mean(method, metric), len(having), labelled))
    return found


def compare(evaluations: Evaluations, metric: Match) -> Comparison | str:
    """Compare SITE with few-shot prompting and with the gates alone, or say which of the three is missing.

    Returns:
        The comparison, or a sentence on why there is none: SITE against few-shot prompting without the gates alone
        would credit the embedding with what weakening some heads does.
    """
    reference = evaluations.reference
    if reference is None:
        shown = sorted({one.n_shots for one in evaluations.values()})
        return (
            "SITE is not compared with few-shot prompting here: "
            + ("it was not evaluated" if len(shown) == 1 else f"tasks were evaluated with {shown} demonstrations")
            + ". Evaluate every task with prompts of equally many demonstrations (n_eval_shots)."
        )
    prompting = f"{evaluations.evaluated[reference].n_shots}-shot prompting"
    together = evaluations.having(SITE, reference, ZERO_EMBEDDING)
    if not together:
        missing = [name for name in (SITE, reference, ZERO_EMBEDDING) if name not in evaluations.methods]
        what = (
            f"{' and '.join(missing)} was not evaluated" if missing else "no task was evaluated with all three methods"
        )
        return (
            f"SITE is not compared with {prompting} here: {what}. The comparison needs {SITE}, {reference} and, "
            f"beside them, {ZERO_EMBEDDING} (gates alone); fit with SiteConfig(embedding='zero') and evaluate again."
        )
    gain = together.compare(SITE, reference, metric)
    content = together.compare(SITE, ZERO_EMBEDDING, metric)
    return Comparison(
        site=together.mean(SITE, metric),
        reference_name=reference,
        reference=together.mean(reference, metric),
        zero=together.mean(ZERO_EMBEDDING, metric),
        gain=gain,
        content=content,
        n_tasks=len(together),
        verdict=gain.sentence(
            "SITE",
            prompting,
            above=f"SITE beats {prompting}",
            below=f"SITE falls short of {prompting}",
        ),
        content_verdict=content.sentence(
            "SITE",
            "the gates alone",
            above="The content of the task embedding adds to the gates",
            below="The gates alone do better than SITE",
        ),
    )


def interval_basis(n_tasks: int) -> str:
    """Say what an interval of a mean over tasks speaks of."""
    if n_tasks == 1:
        return "one task; 95% intervals over its test queries"
    return f"mean over {n_tasks} tasks, each counting once; 95% t intervals over tasks"
