"""Task embeddings: head outputs at the last token of few-shot prompts, averaged as they stream by."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.embedding import NO_SEED, TaskEmbedding
from site_lens.activations.prefill import prompt_batches
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import FitError, InputError
from site_lens.records.progress import progress_bar
from site_lens.tasks.prompt_sampling import PromptSet, prompts_of_embedding, prompts_of_rows
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task, task_list


class _Moments:
    """Mean and standard deviation of what streams by, in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n = 0
        self.mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, rows: np.ndarray) -> None:
        n, mean = len(rows), rows.mean(0, dtype=np.float64)
        gap = mean - self.mean
        self._squares += ((rows - mean) ** 2).sum(0) + gap**2 * (self.n * n / (self.n + n))
        self.mean += gap * (n / (self.n + n))
        self.n += n

    def spread(self) -> np.ndarray:
        return np.sqrt(self._squares / (self.n - 1)) if self.n > 1 else np.zeros_like(self.mean)


ADVICE = "use dtype='float32', or 'bfloat16', whose range is as wide"
"""What to do where float16 overflows."""


def last_z_of(model: LensModel, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt layer head d_head"]:
    """Return z at the last token of every prompt, float32, on the model's device."""
    ids = model.encoder.encode([prompt.text for prompt in prompts])
    found = torch.zeros(len(ids), *model.grid.shape, model.identity.d_head, device=model.device)
    for group, batch in prompt_batches(model, ids):
        found[group] = model.last_z(batch)
    return found


@on_model
def capture_embeddings(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    *,
    n_prompts: int = 50,
    n_shots: int = 10,
    seed: int = 0,
    template: PromptTemplate | None = None,
    prompt_rows: Mapping[str, Sequence[Sequence[int]]] | None = None,
    progress: bool | None = None,
) -> dict[str, TaskEmbedding]:
    """Average every head's z at the last token of few-shot prompts, for several tasks at once.

    Args:
        model: The model.
        tasks: The tasks; prompts are made of their train rows.
        n_prompts: M, prompts a task.
        n_shots: N, demonstrations a prompt.
        seed: Seed of the draw; a task's prompts do not depend on the other tasks.
        template: How examples become text; the paper's when None.
        prompt_rows: Rows of train of every prompt by task, (prompt row), demonstrations in order and the query last, to
            use instead of a draw: `n_prompts` prompts of `n_shots` + 1 rows. `embedding.prompts(task)` reads them back.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        The embedding of each task, by name.

    Raises:
        InputError: A task has too few train rows, a prompt exceeds the context, or `prompt_rows` lack a task, name
            rows that are not there, or are not `n_prompts` of `n_shots` + 1.
        FitError: z of some prompt is not finite; `error.fits` holds the embeddings of the other tasks.

    Reference: arXiv 2507.20906, section 3, with M = 50 and N = 10.

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.load_tasks("demo", ["antonym"])
        >>> found = sl.capture_embeddings(sl.load_model("demo"), tasks, n_prompts=4, n_shots=3)
        >>> found["antonym"].mean.shape  # (layer head d_head)
        (6, 8, 32)
    """
    found, broken = captured(
        model, tasks, n_prompts=n_prompts, n_shots=n_shots, seed=seed, template=template, prompt_rows=prompt_rows,
        progress=progress,
    )  # fmt: skip
    if broken:
        raise FitError(
            "; ".join([*broken.values(), ADVICE]), fits={name: found[name] for name in found if name not in broken}
        )
    return found


def captured(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    *,
    n_prompts: int,
    n_shots: int,
    seed: int,
    template: PromptTemplate | None,
    prompt_rows: Mapping[str, Sequence[Sequence[int]]] | None = None,
    progress: bool | None,
) -> tuple[dict[str, TaskEmbedding], dict[str, str]]:
    """Capture embeddings as `capture_embeddings` does, and say of which tasks z is not finite, and where.

    Zeros stand in the place of their embeddings.
    """
    template = template or PromptTemplate()
    wanted = task_list(tasks)
    check_sizes(n_prompts=n_prompts, n_shots=n_shots or None, seed=seed)
    if prompt_rows is None:
        drawn = {
            task.name: prompts_of_embedding(task, template, n_prompts=n_prompts, n_shots=n_shots, seed=seed)
            for task in wanted
        }
    elif seed:
        raise InputError(f"prompt_rows leave nothing to draw with seed={seed}; leave out one of the two")
    else:
        drawn = {task.name: _given(task, template, prompt_rows, n_prompts, n_shots) for task in wanted}
    owners = [name for name, found in drawn.items() for _ in found.prompts]
    ids = model.encoder.encode([prompt.text for found in drawn.values() for prompt in found.prompts])
    moments = {name: _Moments((*model.grid.shape, model.identity.d_head)) for name in drawn}
    broken: dict[str, str] = {}
    with progress_bar(len(ids), "task embeddings", unit="prompt", progress=progress) as bar:
        for group, batch in prompt_batches(model, ids):
            z = model.last_z(batch).cpu().numpy()
            for i, row in zip(group, z, strict=True):
                if not np.isfinite(row).all() and owners[i] not in broken:
                    place = i - owners.index(owners[i])
                    asks = drawn[owners[i]].prompts[place].text[-40:]
                    broken[owners[i]] = (
                        f"the embedding of {owners[i]!r} is not finite in {model.identity.dtype}: at prompt {place} of "
                        f"{n_prompts}, which ends in {asks!r}, {nonfinite_layers(row)}"
                    )
            for name in dict.fromkeys(owners[i] for i in group):
                if name not in broken:
                    moments[name].add(z[[owners[i] == name for i in group]])
            bar.update(len(group))
    nothing = np.zeros((*model.grid.shape, model.identity.d_head))
    found = {
        task.name: TaskEmbedding(
            task=task.name,
            mean=nothing if task.name in broken else moments[task.name].mean,
            spread=nothing if task.name in broken else moments[task.name].spread(),
            n_prompts=n_prompts,
            n_shots=n_shots,
            seed=seed if prompt_rows is None else NO_SEED,
            template=template,
            task_digest=task.digest,
            prompt_rows=drawn[task.name].rows,
            labelled_rows=tuple(sorted(drawn[task.name].labelled_rows)),
            model=model.identity,
        )
        for task in wanted
    }
    return found, broken


def _given(
    task: Task, template: PromptTemplate, rows: Mapping[str, Sequence[Sequence[int]]], n_prompts: int, n_shots: int
) -> PromptSet:
    if task.name not in rows:
        raise InputError(f"no prompt_rows of task {task.name!r}; there are rows of: {', '.join(rows)}")
    found = prompts_of_rows(task, template, rows[task.name])
    shape = (len(found.rows), len(found.rows[0]))
    if shape != (n_prompts, n_shots + 1):
        raise InputError(
            f"prompt_rows of {task.name!r} are {shape[0]} prompts of {shape[1]} rows, and {n_prompts} of {n_shots + 1} "
            f"were asked for; pass n_prompts={shape[0]} and n_shots={shape[1] - 1}"
        )
    return found


def nonfinite_layers(z: np.ndarray) -> str:
    """Say from which layer on z of a prompt, (layer head d_head), is not finite."""
    layers = np.flatnonzero(~np.isfinite(z).all((1, 2)))
    return f"z is not finite from layer {layers[0]} on" if len(layers) else "z is finite in every layer"
