"""Measuring of transfer: alphas of one task with another's embedding, and the other way round."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from site_lens.heads.head_set import HeadSet
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.selectors.random_scores import shuffled_within_layers
from site_lens.site.control_embeddings import norm_matched
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.cache import Arrays, StudyCache
from site_lens.studies.measure import ask, common_fields, first_fits, measure_tasks, prompted, zero_shot_queries
from site_lens.studies.transfer.result import TransferMatrix
from site_lens.tasks.task import Task, task_list


@renamed_keyword(folder="checkpoint_dir")
@on_model
def transfer_matrix(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits,
    *,
    hard: bool = False,
    max_queries: int = 96,
    n_shots: int = 10,
    n_draws: int = 4,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    progress: bool | None = None,
) -> TransferMatrix:
    """Measure every task under the alphas, the embedding, or both, of every task.

    All cells of a target ask the same queries over one prefix each. A cell of a task with itself is its own fit.

    Args:
        model: The model that the fits were made on.
        tasks: The tasks; queries are the sample of their test rows that `evaluate` takes.
        fits: One fit a task, at least two tasks; of several seeds the lowest counts.
        hard: Round alphas at 0.5. Heads that a source never needed may stay where they began, at 0.5, and mix half of
            the target's embedding in; rounding closes them.
        max_queries: Test rows a target at most.
        n_shots: Demonstrations of the few-shot prompting that stands beside it.
        n_draws: Draws of every null; see `studies.transfer.result.NULLS`.
        seed: Seed of demonstrations and nulls.
        checkpoint_dir: Folder of checkpoints, one a task: an interrupted call goes on where it stopped, and the same
            call again costs nothing. Nothing is kept when None.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Raises:
        InputError: There are fewer than two tasks, a task has no fit, or fits mix in by different rules.
        MismatchError: A fit belongs to another model.

    Reference: arXiv 2507.20906, inter-task activation patching.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
        >>> fits = sl.fit_site(model, tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> sl.transfer_matrix(model, tasks, fits, max_queries=8).accuracies("alphas").shape  # (source target)
        (2, 2)
    """
    check_sizes(max_queries=max_queries, n_shots=n_shots, n_draws=n_draws, seed=seed)
    targets = task_list(tasks)
    sources, notes = first_fits(model, targets, fits, hard=hard)
    rules = {fit.config.mix for fit in sources}
    if len(targets) < 2 or len(rules) > 1:
        raise InputError(
            "a transfer matrix needs at least two tasks, and fits of one mixing rule; got "
            f"{[task.name for task in targets]}, rules {sorted(rules)}"
        )
    fields, n = common_fields(model, targets, sources, notes, n_queries=max_queries), len(sources)
    alphas, embeddings = np.stack([fit.gates.values for fit in sources]), [fit.embedding.mean for fit in sources]

    def measure(j: int) -> Arrays:
        """Return `right` and `log_prob` (kind source query), `references` and `nulls` (... query) of a target."""
        task, own = targets[j], sources[j]
        queries = zero_shot_queries(model, task, max_queries, own.template)
        kinds = [alphas, np.broadcast_to(alphas[j], alphas.shape), alphas]
        right, log_prob = ask(queries, own, kinds, embeddings, [*[j] * n, *range(n), *range(n)])
        nulls, _ = ask(queries, own, *_nulls(own, n_draws, seed))
        prompting = prompted(model, task, max_queries, own.template, n_shots=n_shots, seed=seed)
        return {"right": right, "log_prob": log_prob, "nulls": nulls, "references": np.stack([*prompting, right[0, j]])}

    cache = StudyCache(
        checkpoint_dir, "transfer", fields["fit_digests"], model.identity.digest, max_queries, n_shots, n_draws, seed
    )
    return TransferMatrix(
        **fields,
        **measure_tasks(TransferMatrix, targets, measure, cache=cache, progress=progress),
        families=tuple(task.family for task in targets),
        alphas=alphas,
        n_shots=n_shots,
        hard=hard,
        seed=seed,
    )


def _nulls(own: SiteFit, n_draws: int, seed: int) -> tuple[list[list[np.ndarray]], list[np.ndarray], list[int]]:
    """Return gates, (null draw layer head) in the order of `NULLS`, embeddings, and the embedding of each gate map."""
    stream = seed_stream(seed, own.task_digest, "transfer nulls")
    opened = own.gates.above(0.5)
    drawn = [HeadSet.random_like(opened, seed=int(stream.integers(2**31))).mask() for _ in range(n_draws)]
    shuffled = [shuffled_within_layers(own.gates, stream) for _ in range(n_draws)]
    noise = [norm_matched(own.embedding, stream) for _ in range(n_draws)]
    gates = [shuffled, drawn, [own.gates.values] * n_draws]
    return gates, [own.embedding.mean, *noise], [*[0] * 2 * n_draws, *range(1, n_draws + 1)]
