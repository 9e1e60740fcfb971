"""SITE beside other ways to inject a task, on the same prompts and queries, and beside other ways to find heads."""

import site_lens as sl
from analysis.claims import Claim, over_tasks
from analysis.lab import Lab
from analysis.measurements import asked, gains, relative_times
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "Is SITE better than prompting and the rival methods, and does it find the heads that others find?"
REPORTED = (
    "Llama-3.1-8B, mean of 57 tasks: SITE 90.0, M = 1 88.7, LoRA 86.8, I2CL 79.9, 10-shot 76.8; 1.1 above the best "
    "in-context vector; inference as fast as zero-shot, 10-shot two to three times slower."
)

ABOVE = {
    ("site", "ten_shot"): "90.0 against 76.8",
    ("site", "lora"): "90.0 against 86.8",
    ("site", "context_scalars"): "90.0 against 79.9 (I2CL)",
    ("site", "in_context_vector"): "1.1 points above the best in-context vector",
    ("site", "head_replacement"): "90.0 against 88.9 (hard replacement)",
    ("site", "function_vector"): "",
    ("site_one_prompt", "ten_shot"): "12.0 points above",
    ("site_equal_data", "ten_shot"): "",
}
"""Which method is above which, and what the paper reports of it, if it does."""


def study(lab: Lab) -> Findings:
    """Fit all methods on the sample; differences and ratios of times by task, intervals over tasks."""
    numbers, site, seed = lab.settings.methods, lab.settings.shared.site, lab.settings.shared.seed
    config = sl.ComparisonConfig(
        n_prompts=site.n_prompts, n_shots=site.n_shots, n_probes=numbers.n_probes, n_valid=site.n_valid, site=site,
        seed=seed,
    )  # fmt: skip
    tasks = dict(list(lab.tasks.items())[: numbers.n_tasks])

    def compare(folder: object) -> sl.Run:
        return sl.run_methods(
            lab.model, tasks, numbers.methods, selectors=numbers.selectors, config=config, save_to=str(folder)
        )

    run = lab.run("methods", compare, tasks, config, numbers.methods, numbers.selectors)
    assert run.evaluations is not None
    compared, agreement = sl.method_table(run.evaluations), sl.compare_selectors(run.scores)
    columns = ["method", "value", "low", "high", "value_over_ten_shot", "q_value_over_ten_shot", "value_over_site",
               "q_value_over_site", "most_rows", "fit_seconds", "relative_inference", "n_trained"]  # fmt: skip
    alike = ["selector", "other", "spearman", "jaccard", "chance", "beyond", "n_tasks"]
    tables = [
        Table.of("Means over tasks, differences with false discovery rates, cost:", compared.means_frame(), columns),
        Table.of("Agreement of the heads that selectors rank first, means over tasks:", agreement.frame(), alike),
    ]
    figure = ("Mean accuracy of every method, and each task as a dot.", sl.plots.method_means(compared))
    claims = _claims(run.evaluations, agreement, numbers.slower)
    return Findings(tuple(run.evaluations), claims, tables, {"methods": figure})


def _claims(found: sl.Evaluations, heads: sl.SelectorAgreement, slower: float) -> list[Claim]:
    n, site = asked(found), heads.names.index("site")
    claims = [
        over_tasks(f"{one} is above {other}", gains(found, one, other), n_queries=n, above=0, reported=reported)
        for (one, other), reported in ABOVE.items()
        if {one, other} <= set(found.methods)
    ]
    times = (
        over_tasks(f"A query under SITE takes at most {slower:g} times as long as zero-shot",
                   relative_times(found, "site"), n_queries=n, at_most=slower, reported="as fast as zero-shot"),
        over_tasks("A 10-shot query takes more than twice as long as zero-shot", relative_times(found, "ten_shot"),
                   n_queries=n, above=2, reported="two to three times slower than SITE"),
    )  # fmt: skip
    shared = [
        over_tasks(f"The first {heads.k} heads of SITE and {name} share more than layer-matched chance gives",
                   (heads.jaccard - heads.chance)[:, site, i], n_queries=n, above=0)
        for i, name in enumerate(heads.names) if name != "site"
    ]  # fmt: skip
    return [*claims, *times, *shared]


if __name__ == "__main__":
    run_this(__file__)
