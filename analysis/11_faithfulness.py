"""The first k heads alone, and few-shot prompts without them: by falling alpha, by rising alpha, and at random."""

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this
from site_lens.heads.scores import ScoresByTask
from site_lens.studies.faithfulness.result import DIRECTIONS, LAYER_MATCHED, REVERSED, SITE, Direction

QUESTION = "Are the heads of high alpha sufficient, and are they necessary?"
REPORTED = (
    "Only high-alpha heads, hard: 57.3 of SITE's 58.5 on four benchmarks; only low-alpha heads: 6.2; random sets: "
    "unstable. Necessity is not reported."
)

PATH = "site_path"
"""Name of the order in which a price path keeps heads open."""


def study(lab: Lab) -> Findings:
    """Measure curves over k; areas along log(1 + k) by task, intervals over tasks."""
    numbers, shared = lab.settings.faithfulness, lab.settings.shared
    run = measurements.fits(lab)
    fits, priced = run.fits, {PATH: ScoresByTask(path.scores for path in run.paths.values())}
    record = lab.record(
        measurements.FITS, "faithfulness",
        lambda: sl.faithfulness_curves(
            lab.model, lab.tasks, fits, scores=priced, n_random=numbers.n_random, max_queries=shared.max_queries,
            seed=shared.seed,
        ),
        numbers.n_random, shared.max_queries, shared.seed,
    )  # fmt: skip
    n_queries = record.n_queries

    def area(direction: Direction, ordering: str, over: str) -> np.ndarray:
        """(task): difference of two areas, each the mean over draws."""
        ours, theirs = (record.areas(direction, name).mean(0) for name in (ordering, over))
        return np.asarray(ours - theirs)

    def half(ordering: str) -> np.ndarray:
        """(task): gain over zero-shot of the first half of an ordering, alone."""
        k = min(record.ks, key=lambda one: abs(one - len(record.grid) / 2))
        place, zero = record.ks.index(k), [record.reference("zero_shot", task) for task in record.tasks]
        return np.array([record.curve("sufficiency", ordering, task)[place] for task in record.tasks]) - zero

    claims = [
        over_tasks("High alphas first do more alone than layer-matched random orders",
                   area("sufficiency", SITE, LAYER_MATCHED), n_queries=n_queries, above=0,
                   reported="57.3 of 58.5; random sets vary widely"),
        over_tasks("High alphas first do more alone than low alphas first", area("sufficiency", SITE, REVERSED),
                   n_queries=n_queries, above=0, reported="57.3 against 6.2"),
        over_tasks(f"The half of lowest alpha, alone, gains at most {numbers.collapsed:.0%} over zero-shot",
                   half(REVERSED), n_queries=n_queries, at_most=numbers.collapsed, reported="collapse to 6.2"),
        over_tasks("Few-shot prompts lose more with high alphas first than with layer-matched random orders",
                   area("necessity", LAYER_MATCHED, SITE), n_queries=n_queries, above=0),
        over_tasks("Heads in the order of the price path do more alone than high alphas first",
                   area("sufficiency", PATH, SITE), n_queries=n_queries, above=0),
    ]  # fmt: skip
    summary = record.summary()
    columns = ["direction", "ordering", "area", "low", "high", "n_draws", "spread", "smallest", "reason"]
    table = Table.of(
        f"Areas under the mean curves, and the smallest set with 95 % of the effect (of {len(record.grid)} heads):",
        summary[summary["task"].isna()], columns,
    )  # fmt: skip
    figures = {
        str(direction): (f"{direction.capitalize()}: accuracy against the number of heads.",
                    sl.plots.faithfulness(record, direction=direction))
        for direction in DIRECTIONS
    }  # fmt: skip
    return Findings(record.tasks, claims, [table], figures)


if __name__ == "__main__":
    run_this(__file__)
