"""Cross-task transfer: alphas of one task with another's embedding, and the other way round."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.queries import Queries
from site_lens.heads.head_set import HeadSet
from site_lens.methods.first_token_metrics import score_methods
from site_lens.methods.method import prompting
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.checkpoint import StudyCheckpoint, side_by_side
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.records.progress import progress_bar
from site_lens.selectors.random_scores import shuffled_within_layers
from site_lens.site.control_embeddings import norm_matched
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.first_fits import first_fits
from site_lens.studies.transfer.result import KINDS, NULLS, TransferMatrix
from site_lens.tasks.prompt_sampling import few_shot_prompts, sampled, zero_shot_prompts
from site_lens.tasks.task import Task, task_list


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
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> TransferMatrix:
    """Measure every task under the alphas, the embedding, or both, of every task.

    All cells of a target ask the same queries over one prefix each. A cell of a task with itself is its own fit.

    Args:
        model: The model that the fits were made on.
        tasks: The tasks; queries are their first test rows.
        fits: One fit a task, at least two tasks; of several seeds the lowest counts.
        hard: Round alphas at 0.5. Heads that a source never needed may stay where they began, at 0.5, and mix half of
            the target's embedding in; rounding closes them.
        max_queries: Test rows a target at most.
        n_shots: Demonstrations of the few-shot prompting that stands beside it.
        n_draws: Draws of every null; see `core.transfer.NULLS`.
        seed: Seed of demonstrations and nulls.
        folder: Where to keep what is measured, task by task, so that an interrupted call goes on where it stopped, and
            the same call again costs nothing; nothing is kept when None.
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
    wanted = task_list(tasks)
    chosen, notes = first_fits(model, wanted, fits)
    if hard:
        chosen = [fit.replace(gates=fit.gates.hard()) for fit in chosen]
    rules = {fit.config.mix for fit in chosen}
    if len(wanted) < 2 or len(rules) > 1:
        raise InputError(
            "a transfer matrix needs at least two tasks, and fits of one mixing rule; got "
            f"{[task.name for task in wanted]}, rules {sorted(rules)}"
        )
    n_queries = [min(max_queries, len(task.test)) for task in wanted]
    fit_digests = tuple(fit.digest for fit in chosen)
    rest = [task.digest for task in wanted], model.identity.digest, max_queries, n_shots, n_draws, seed
    pieces, columns = StudyCheckpoint(folder, "transfer", fit_digests, *rest), []
    with progress_bar(len(wanted), "transfer", unit="target", progress=progress) as bar:
        for j, (task, n) in enumerate(zip(wanted, n_queries, strict=True)):
            measure = partial(_column, model, task, chosen, j, n, n_shots=n_shots, n_draws=n_draws, seed=seed)
            columns.append(pieces.once(task.name, measure))
            bar.update()
    return TransferMatrix(
        tasks=tuple(task.name for task in wanted),
        families=tuple(task.family for task in wanted),
        alphas=np.stack([fit.gates.values for fit in chosen]),
        **{name: side_by_side([column[name] for column in columns], axis=-2) for name in columns[0]},
        asked=np.arange(max(n_queries)) < np.array(n_queries)[:, None],
        n_shots=n_shots,
        hard=hard,
        seed=seed,
        fit_digests=fit_digests,
        model=model.identity,
        versions=library_versions(),
        notes=notes,
    )


def _column(
    model: LensModel,
    task: Task,
    fits: Sequence[SiteFit],
    target: int,
    n_queries: int,
    *,
    n_shots: int,
    n_draws: int,
    seed: int,
) -> dict[str, Float32]:
    """Ask a target under all fits: `right` and `log_prob` (kind source query), `references` and `nulls` (... query)."""
    variants, own = _Variants.of(fits, target, n_draws, seed), fits[target]
    held = CachedQueries(model, zero_shot_prompts(sampled(task.test, n_queries), own.template))
    found = held.answers(variants.alphas, variants.embeddings, variants.embedding_of, rule=own.config.mix)
    answered, certain = (part.float().cpu().numpy() for part in (found.right, found.log_prob))
    n_cells, cells = len(KINDS) * len(fits), "(kind source) query -> kind source query"
    right = rearrange(answered[:n_cells], cells, kind=len(KINDS))
    plain = held.under([]).right[0].float().cpu().numpy()
    return {
        "right": right,
        "log_prob": rearrange(certain[:n_cells], cells, kind=len(KINDS)),
        "nulls": rearrange(answered[n_cells:], "(null draw) query -> null draw query", null=len(NULLS)),
        "references": np.stack([plain, _few_shot(model, task, own, n_queries, n_shots, seed), right[0, target]]),
    }


def _few_shot(model: LensModel, task: Task, fit: SiteFit, n_queries: int, n_shots: int, seed: int) -> np.ndarray:
    """(query): 1 where few-shot prompting is right, on the prompts that `evaluate` asks."""
    stream = seed_stream(seed, task.digest, "evaluation", n_shots)
    prompts = few_shot_prompts(
        task, sampled(task.test, n_queries), fit.template, n_shots=n_shots, stream=stream
    ).prompts
    ((_, scores),) = score_methods(model, Queries.of(model, prompts), [prompting(n_shots)])
    return scores.metrics["first_token"]


class _Variants:
    """Gates and embeddings of all cells and nulls of one target, in order of the record's axes."""

    def __init__(
        self,
        alphas: Sequence[np.ndarray],
        embeddings: Sequence[np.ndarray],
        embedding_of: Sequence[int],
    ) -> None:
        self.alphas: Float[Tensor, "variant layer head"] = torch.tensor(np.stack(alphas))
        self.embeddings: Float[Tensor, "embedding layer head d_head"] = torch.tensor(np.stack(embeddings))
        self.embedding_of: Int[Tensor, " variant"] = torch.tensor(embedding_of)

    @classmethod
    def of(cls, fits: Sequence[SiteFit], target: int, n_draws: int, seed: int) -> "_Variants":
        every, own = range(len(fits)), fits[target]
        gates = [fit.gates.values for fit in fits]
        stream = seed_stream(seed, own.task_digest, "transfer nulls")
        opened = own.gates.above(0.5)
        drawn = [HeadSet.random_like(opened, seed=int(stream.integers(2**31))) for _ in range(n_draws)]
        shuffled = [shuffled_within_layers(own.gates, stream) for _ in range(n_draws)]
        noise = [norm_matched(own.embedding.mean, stream) for _ in range(n_draws)]
        alphas = [*gates, *[gates[target]] * len(fits), *gates]
        alphas += [*shuffled, *(heads.mask().astype(np.float32) for heads in drawn), *[gates[target]] * n_draws]
        embedding_of = [*[target] * len(fits), *every, *every]
        embedding_of += [target] * 2 * n_draws + [len(fits) + i for i in range(n_draws)]
        return cls(alphas, [*(fit.embedding.mean for fit in fits), *noise], embedding_of)
