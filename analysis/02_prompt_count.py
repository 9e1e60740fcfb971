"""Fewer prompts, fewer demonstrations: the embedding of M prompts with N demonstrations, one of the two changed."""

import site_lens as sl
from analysis import measurements
from analysis.claims import over_tasks
from analysis.lab import Lab
from analysis.measurements import accuracy_by_task as accuracy
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "How many prompts, and how many demonstrations, does a task embedding need?"
REPORTED = (
    "M = 1 is 12.0 points above 10-shot prompting already, M = 5 and more saturate; from M = 1 to M = 50 the mean of "
    "57 tasks rises from 88.7 to 90.0. Of N nothing could be recovered."
)


def study(lab: Lab) -> Findings:
    """Fit every task with embeddings of several prompt sets each; means over sets by task, intervals over tasks."""
    tolerance, record = lab.settings.prompt_count.tolerance, measurements.prompt_count(lab)
    n_queries = record.asked.sum(1)
    claims = []
    for letter, conditions in (("M", record.along("n_prompts")), ("N", record.along("n_shots"))):
        *fewer, most = conditions
        for one in fewer:
            count, largest = (c.n_prompts if letter == "M" else c.n_shots for c in (one, most))
            claims.append(
                over_tasks(
                    f"{letter} = {count} loses at most {tolerance:.0%} against {letter} = {largest}",
                    accuracy(record, most) - accuracy(record, one),
                    n_queries=n_queries,
                    at_most=tolerance,
                    reported="M of 5 and more saturates" if letter == "M" and count >= 5 else "",
                )
            )
    smallest = record.along("n_prompts")[0]
    claims.append(
        over_tasks(
            f"M = {smallest.n_prompts} is above {record.n_reference_shots}-shot prompting",
            accuracy(record, smallest) - accuracy(record, "few_shot"),
            n_queries=n_queries,
            above=0,
            reported="12.0 points above" if smallest.n_prompts == 1 else "",
        )
    )
    named = [(one.n_prompts, one.n_shots, accuracy(record, one)) for one in record.conditions]
    prompted = [("", 0, accuracy(record, "zero_shot")), ("", record.n_reference_shots, accuracy(record, "few_shot"))]
    table = Table(
        title="Accuracy over tasks; without M: prompting with N demonstrations.",
        columns=("M", "N", "mean", "lowest task", "highest task"),
        rows=tuple((m, n, *map(float, (a.mean(), a.min(), a.max()))) for m, n, a in (*named, *prompted)),
    )
    shown = ("Accuracy with embeddings of M prompts, above, and N demonstrations, below.", sl.plots.sensitivity(record))
    return Findings(record.tasks, claims, [table], {"prompts": shown})


if __name__ == "__main__":
    run_this(__file__)
