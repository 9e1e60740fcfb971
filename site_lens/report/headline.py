"""Headline: mean accuracy by method, and whether SITE beats few-shot prompting, never without the gates alone."""

from typing import Any

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.stats.paired_tests import FEWEST, Verdict, control_false_discoveries, verdict

SITE = "site"
SPARSE = "site_sparse"
SILENCED = "gates_sparse"


def plain_names(reference: str | None, n_shots: int, sparse: str) -> dict[str, str]:
    """Return plain words for the methods of the first screen, by name, in the order in which they are told."""
    names = [
        (SPARSE, sparse), (SITE, "SITE, soft gates"), (reference, examples_shown(n_shots)),
        (SILENCED, "silencing alone"), (ZERO_EMBEDDING, "soft gates alone"), ("zero_shot", "no example"),
    ]  # fmt: skip
    return {name: words for name, words in names if name is not None}


def examples_shown(n_shots: int) -> str:
    """Return how many demonstrations a prompt shows."""
    return f"{n_shots} example{'s' if n_shots != 1 else ''}"


def in_words(evaluations: Evaluations) -> str:
    """Say how often the model is right with the chosen heads, after examples, by silencing alone, and by itself."""
    ways = [
        (SPARSE, "With the task embedding there instead the model is right"),
        (evaluations.reference, f"after {examples_shown(next(iter(evaluations.values())).n_shots)}"),
        (SILENCED, "by silencing as many heads, chosen for that,"),
        ("zero_shot", "without any of this"),
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
        return _capitalised(over_tasks.sentence(one, other, above=above, below=below))
    compared = {task: each.compare(method, over, metric) for task, each in evaluations.items()}
    enough = [paired.n >= FEWEST[paired.over] for paired in compared.values()]
    q_values = control_false_discoveries([paired.p_value for paired in compared.values()], enough)
    tasks: dict[Verdict, list[str]] = {}
    for (task, paired), q_value in zip(compared.items(), q_values, strict=True):
        tasks.setdefault(verdict(paired.estimate, float(q_value), paired.over), []).append(task)
    words: dict[Verdict, str] = {
        "above": "better",
        "below": "worse",
        "not found": "no difference found",
        "too few": f"too few queries for a verdict (under {FEWEST['queries']})",
    }
    told = [
        f"{text} in {len(tasks[found])} ({', '.join(tasks[found])})" for found, text in words.items() if found in tasks
    ]
    return _capitalised(f"{one} against {other}: of {len(compared)} tasks, {'; '.join(told)}.")


def _capitalised(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}"


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


def compare(evaluations: Evaluations, metric: Match) -> dict[str, Any] | str:
    """Compare SITE with few-shot prompting and with the gates alone, or say which of the three is missing.

    Returns:
        The number of tasks that have all three, and the contrasts, each a verdict in a sentence and the mean accuracies
        of both methods: with few-shot prompting, then with the gates alone, which is what the content of the embedding
        adds. Or a sentence on why there is none: SITE against few-shot prompting without the gates alone would credit
        the embedding with what weakening some heads does.
    """
    reference = evaluations.reference
    if reference is None:
        n_shots = sorted({evaluation.n_shots for evaluation in evaluations.values()})
        several = f"tasks were evaluated with {', '.join(map(str, n_shots))} demonstrations"
        why = "it was not evaluated" if len(n_shots) == 1 else several
        return (
            f"SITE is not compared with few-shot prompting here: {why}. Evaluate every task with prompts of equally "
            "many demonstrations (n_eval_shots)."
        )
    prompting = f"{evaluations.evaluated[reference].n_shots}-shot prompting"
    together = evaluations.having(SITE, reference, ZERO_EMBEDDING)
    if not together:
        missing = [name for name in (SITE, reference, ZERO_EMBEDDING) if name not in evaluations.methods]
        were = "was" if len(missing) == 1 else "were"
        what = f"{' and '.join(missing)} {were} not evaluated" if missing else "no task was evaluated with all three"
        return (
            f"SITE is not compared with {prompting} here: {what}. The comparison needs {SITE}, {reference} and, "
            f"beside them, {ZERO_EMBEDDING} (gates alone); fit with SiteConfig(embedding='zero') and evaluate again."
        )
    adds, better_alone = "The content of the task embedding adds to the gates", "The gates alone do better than SITE"
    meanings = {
        reference: (prompting, f"SITE beats {prompting}", f"SITE falls short of {prompting}"),
        ZERO_EMBEDDING: ("the gates alone", adds, better_alone),
    }
    contrasts = []
    for method, (name, above, below) in meanings.items():
        sentence = judged(together, SITE, method, "SITE", name, above=above, below=below, metric=metric)
        contrasts.append((sentence, {each: together.mean(each, metric) for each in (SITE, method)}))
    return {"n_tasks": len(together), "contrasts": contrasts}


def interval_basis(n_tasks: int) -> str:
    """Return what an interval of a mean over tasks speaks of."""
    if n_tasks == 1:
        return "one task; 95% intervals over its test queries"
    return f"mean over {n_tasks} tasks, each counting once; 95% t intervals over tasks"
