"""One choice of SITE changed at a time, and two tasks injected at once."""

import site_lens as sl
from analysis.claims import over_queries
from analysis.lab import Lab
from analysis.measurements import FITS, fits
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "What is each choice of SITE worth, and can two tasks be injected together?"
REPORTED = (
    "Reviewers asked for ablations of the convex mix, of the start at 0.5 and of the sigmoid; none are reported. Two "
    "tasks at once are not tried."
)

RUN = "two_tasks"


def study(lab: Lab) -> Findings:
    """Fit variants in one batch, compare on the same queries; combine two fits by their heads and embeddings."""
    numbers, shared = lab.settings.choices, lab.settings.shared
    tasks = dict(list(lab.tasks.items())[: numbers.n_tasks])
    fits(lab)
    ablation = lab.record(
        FITS, "ablation",
        lambda: sl.ablate_fit(
            lab.model, tasks, shared.site, inits=numbers.inits, lrs=numbers.lrs, last_k=numbers.last_k,
            max_queries=shared.max_queries, seed=shared.seed,
        ),
        tasks, numbers, shared,
    )  # fmt: skip
    pair = [lab.task(numbers.first), lab.task(numbers.second)]
    run = lab.run(
        RUN, lambda folder: sl.fit_and_evaluate(lab.model, pair, shared.site, save_to=folder), pair, shared.site
    )
    both = lab.record(
        RUN,
        "combination",
        lambda: sl.combine_tasks(lab.model, pair[0], pair[1], run.fits, max_queries=len(pair[0].test)),
        pair,
    )
    claims = [
        over_queries(f"{one.against} is above {one.name}", ablation.compare(one.name).turned(), above=0,
                     n_tasks=len(tasks))
        for one in ablation.compared
    ]  # fmt: skip
    claims += [
        over_queries(f"{task} loses at most {numbers.kept:.0%} when the heads of {both.tasks[1 - i]} are injected, too",
                     both.compare("union", 0.5, task).turned(), at_most=numbers.kept)
        for i, task in enumerate(both.tasks)
    ]  # fmt: skip
    columns = ["variant", "factor", "metric", "accuracy", "against", "difference", "difference_low", "difference_high",
               "q_value", "share_open", "undecided"]  # fmt: skip
    mixed = ["kind", "weight", "task", "accuracy", "low", "high", "difference", "zero_shot", "own", "verdict", "n"]
    tables = [
        Table.of("Variants over all tasks, and what each is compared with:", ablation.means_frame(), columns),
        Table.of("Two tasks at once; weight is that of the second:", both.frame(), mixed),
    ]
    shown = {
        "choices": ("Difference of every variant.", sl.plots.fit_ablation(ablation)),
        "two-tasks": ("Accuracy of two tasks over the weight of the second.", sl.plots.task_arithmetic(both)),
    }
    return Findings([*tasks, *both.tasks], claims, tables, shown)


if __name__ == "__main__":
    run_this(__file__)
