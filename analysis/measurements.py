"""What several studies read: whichever comes first makes it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import site_lens as sl
from analysis.lab import Lab
from site_lens.methods.registry import CONTROLS
from site_lens.records.base import Float32
from site_lens.records.collections import file_name
from site_lens.studies.head_profiles.roles import RoleAssociation
from site_lens.studies.prompt_sensitivity.result import Condition
from site_lens.studies.transfer.result import KINDS, NULLS, REFERENCES

FITS, SEEDS = "fits", "seeds"
"""Names of the runs that are shared."""

Numbers = NDArray[np.float64]


def fits(lab: Lab) -> sl.Run:
    """Return one fit of every task of the sample, with all of its controls, evaluated on all test rows."""
    shared = lab.settings.shared
    config = shared.site.replace(seed=shared.seed)
    return lab.run(
        FITS,
        lambda folder: sl.fit_and_evaluate(
            lab.model, lab.tasks, config, save_to=folder, controls=CONTROLS, n_starts=shared.n_starts,
            tasks_at_once=len(lab.tasks),
        ),
        lab.tasks,
        config,
        shared.n_starts,
    )  # fmt: skip


def seeds(lab: Lab) -> sl.Run:
    """Return several fits of every task, each from random alphas of its own."""
    shared = lab.settings.shared
    config = shared.site.replace(init="random")

    def make(folder: Path) -> sl.Run:
        run = sl.Run(sl.fit_site(lab.model, lab.tasks, config, seeds=range(shared.n_seeds), throw=False))
        run.save(folder)
        return run

    return lab.run(SEEDS, make, lab.tasks, config, shared.n_seeds)


def prompt_count(lab: Lab) -> sl.PromptSensitivity:
    """Return fits of every task with embeddings of fewer and more prompts and demonstrations."""
    shared, numbers = lab.settings.shared, lab.settings.prompt_count
    fits(lab)
    return lab.record(
        FITS,
        "prompt_count",
        lambda: sl.prompt_sensitivity(
            lab.model,
            lab.tasks,
            shared.site,
            n_prompts=numbers.n_prompts,
            n_shots=numbers.n_shots,
            base=numbers.base,
            n_resamples=numbers.n_resamples,
            n_fit_seeds=numbers.n_fit_seeds,
            max_queries=shared.max_queries,
            seed=shared.seed,
        ),
        numbers,
        shared,
    )


def transfer(lab: Lab, *, hard: bool = False) -> sl.TransferMatrix:
    """Return every task of the sample under the parts of every other one."""
    shared, numbers = lab.settings.shared, lab.settings.transfer
    fitted = fits(lab).fits
    return lab.record(
        FITS,
        "transfer_hard" if hard else "transfer",
        lambda: sl.transfer_matrix(
            lab.model,
            lab.tasks,
            fitted,
            hard=hard,
            max_queries=shared.max_queries,
            n_draws=numbers.n_draws,
            seed=shared.seed,
        ),
        numbers.n_draws,
        shared.max_queries,
    )


def transfer_of_sets(lab: Lab) -> sl.TransferMatrix | None:
    """Return every task that has a chosen head set under those of the others; None where fewer than two have one."""
    shared, numbers, paths = lab.settings.shared, lab.settings.transfer, fits(lab).paths
    sets = paths.sparse_fits()
    if len(sets) < 2:
        return None
    return lab.record(
        FITS,
        "transfer_of_sets",
        lambda: sl.transfer_matrix(
            lab.model, [lab.tasks[fit.task] for fit in sets.values()], sets, max_queries=shared.max_queries,
            n_draws=numbers.n_draws, seed=shared.seed,
        ),
        numbers.n_draws,
        shared.max_queries,
    )  # fmt: skip


def landscape(lab: Lab, task: sl.Task) -> sl.FitLandscape:
    """Return fits of one task of the sample from many starts."""
    numbers, shared = lab.settings.convergence, lab.settings.shared
    fits(lab)
    return lab.record(
        FITS,
        file_name(f"landscape_{task.name}"),
        lambda: sl.fit_landscape(
            lab.model,
            task,
            shared.site.replace(keep="best", eval_every=10),
            n_fits=numbers.n_fits,
            n_nulls=numbers.n_nulls,
            constants=numbers.constants,
            lrs=numbers.lrs,
            n_steps=numbers.n_steps,
            max_queries=shared.max_queries,
            seed=shared.seed,
        ),
        numbers,
        shared,
    )


def without(matrix: sl.TransferMatrix, task: str) -> sl.TransferMatrix:
    """Return a transfer matrix with one task left out, as source and as target."""
    kept = [i for i, name in enumerate(matrix.tasks) if name != task]
    along = {name: tuple(getattr(matrix, name)[i] for i in kept) for name in ("tasks", "families", "fit_digests")}
    return matrix.replace(
        **along,
        alphas=matrix.alphas[kept],
        right=matrix.right[:, kept][:, :, kept],
        log_prob=matrix.log_prob[:, kept][:, :, kept],
        references=matrix.references[:, kept],
        nulls=matrix.nulls[:, :, kept],
        asked=matrix.asked[kept],
    )


def answers_under(matrix: sl.TransferMatrix) -> dict[str, Float32]:
    """Return right answers of the first of two tasks, (query), under its own parts and under the other's alphas."""
    queries = matrix.asked[0] == 1
    zero, own = (matrix.references[REFERENCES.index(name), 0][queries] for name in ("zero_shot", "own"))
    shuffled = matrix.nulls[NULLS.index("shuffled_heads"), :, 0][:, queries].mean(0)
    swapped = matrix.right[KINDS.index("alphas"), 1, 0][queries]
    return {"zero-shot": zero, "its own": own, "the other task's": swapped, "its own, heads shuffled": shuffled}


def role_associations(
    matrix: sl.TransferMatrix, profiles: sl.HeadProfiles, n_top: int
) -> tuple[RoleAssociation, list[RoleAssociation]]:
    """Return what transfer goes along with, and the same with every task left out that counts.

    Raises:
        InputError: Too few tasks gain by their own fit.
    """
    scores = matrix.normalised("alphas").T
    counted = [task for task, own in zip(matrix.tasks, scores, strict=True) if np.isfinite(own).all()]
    others = [sl.associate_roles(without(matrix, task), profiles, n_top=n_top) for task in counted]
    return sl.associate_roles(matrix, profiles, n_top=n_top), others


def kinship(families: "tuple[str | None, ...]") -> tuple[Numbers, Numbers]:
    """Return (task other) where two tasks are of one family, and where they are of different ones, 1 there, else NaN.

    Tasks of unknown family are neither.
    """
    known = np.array([family is not None for family in families])
    same = np.array([[one == other for other in families] for one in families])
    both, off = known[:, None] & known[None, :], ~np.eye(len(families), dtype=bool)
    return np.where(same & both & off, 1.0, np.nan), np.where(~same & both, 1.0, np.nan)


def gains(evaluations: sl.Evaluations, method: str, over: str) -> list[float]:
    """Return the difference in accuracy of two methods, one number a task."""
    return [one.accuracy(method).value - one.accuracy(over).value for one in evaluations.values()]


def relative_times(evaluations: sl.Evaluations, method: str) -> list[float]:
    """Return the time a query under a method over that of zero-shot prompting, one number a task."""
    costs = [
        {name: cost.query_seconds for name, cost in zip(one.methods, one.costs, strict=True)}
        for one in evaluations.values()
    ]
    return [cost[method] / cost["zero_shot"] for cost in costs]


def accuracy_by_task(record: sl.PromptSensitivity, of: Condition | str) -> Numbers:
    """Return the accuracy under a condition, mean over its prompt sets, or a reference, one number a task."""
    return np.array([record.accuracy(of, task).value for task in record.tasks])


def of_chosen_sets(evaluations: sl.Evaluations, over: str) -> tuple[list[float], list[int]]:
    """Return what the chosen head set of each task gains over another method, and the queries behind it."""
    found = evaluations.having("site_sparse", over)
    return gains(found, "site_sparse", over), asked(found)


def asked(evaluations: sl.Evaluations) -> list[int]:
    """Return the number of test queries of every task."""
    return [len(one.queries) for one in evaluations.values()]
