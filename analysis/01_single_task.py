"""One task, as the paper begins: an embedding of M = 5 prompts with N = 10 demonstrations, 400 steps of batch 1."""

import site_lens as sl
from analysis.claims import over_queries
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "Is one task done better by SITE than by ten demonstrations?"
REPORTED = (
    "The paper's first experiment is AG News. SITE is 10.2 to 14.3 points above 10-shot prompting, mean of 57 tasks, "
    "on each of 12 models; numbers of single tasks could not be recovered."
)


def study(lab: Lab) -> Findings:
    """Fit, evaluate on all test rows, compare on the same queries."""
    numbers = lab.settings.single_task
    task = lab.task(numbers.task)
    config = lab.settings.shared.site.replace(n_prompts=numbers.n_prompts)
    run = lab.run(
        "single_task",
        lambda folder: sl.fit_and_evaluate(lab.model, task, config, save_to=folder),
        task,
        config,
    )
    assert run.evaluations is not None
    found = run.evaluations[task.name]
    claims = [
        over_queries(
            f"SITE is above 10-shot prompting on {task.name}",
            found.compare("site"),
            above=0,
            reported="10.2 to 14.3 points above, mean of 57 tasks",
        ),
        over_queries(
            f"10-shot prompting is above zero-shot on {task.name}", found.compare("ten_shot", over="zero_shot"), above=0
        ),
        over_queries(
            f"SITE is above the same fit with an embedding of zeros on {task.name}",
            found.compare("site", over="site_zero_embedding"),
            above=0,
        ),
    ]
    rows = found.results().query("metric == 'first_token'")
    table = Table.of(
        f"First answer token right on {task.name}:", rows, ["method", "value", "low", "high", "n", "labelled_rows"]
    )
    figures = {"heads": (f"Alphas of {task.name}.", sl.plots.head_map(run.fits[task.name]))}
    return Findings([task.name], claims, [table], figures)


if __name__ == "__main__":
    run_this(__file__)
