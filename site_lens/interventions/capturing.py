"""Task embeddings: head outputs at the last token of few-shot prompts, averaged as they stream by."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.embedding import TaskEmbedding
from site_lens.core.prompts import Prompt, PromptTemplate
from site_lens.core.sampling import prompts_of_embedding
from site_lens.core.sizes import check_sizes
from site_lens.core.tasks import Task, task_list
from site_lens.interventions.prefixes import prompt_batches
from site_lens.interventions.progress import progress_bar
from site_lens.models.protocol import LensModel


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


def last_z_of(model: LensModel, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt layer head d_head"]:
    """Return z at the last token of every prompt, float32, on the model's device."""
    ids = model.encoder.encode([prompt.text for prompt in prompts])
    found = torch.zeros(len(ids), *model.grid.shape, model.identity.d_head, device=model.device)
    for group, batch in prompt_batches(model, ids):
        found[group] = model.last_z(batch)
    return found


def capture_embeddings(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    *,
    n_prompts: int = 50,
    n_shots: int = 10,
    seed: int = 0,
    template: PromptTemplate | None = None,
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
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        The embedding of each task, by name.

    Raises:
        InputError: A task has too few train rows, or a prompt exceeds the context.

    Reference: arXiv 2507.20906, section 3, with M = 50 and N = 10.

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.load_tasks("demo", ["antonym"])
        >>> found = sl.capture_embeddings(sl.load_model("demo"), tasks, n_prompts=4, n_shots=3)
        >>> found["antonym"].mean.shape  # (layer head d_head)
        (6, 8, 32)
    """
    template = template or PromptTemplate()
    wanted = task_list(tasks)
    check_sizes(n_prompts=n_prompts, n_shots=n_shots or None, seed=seed)
    drawn = {
        task.name: prompts_of_embedding(task, template, n_prompts=n_prompts, n_shots=n_shots, seed=seed)
        for task in wanted
    }
    owners = [name for name, found in drawn.items() for _ in found.prompts]
    ids = model.encoder.encode([prompt.text for found in drawn.values() for prompt in found.prompts])
    moments = {name: _Moments((*model.grid.shape, model.identity.d_head)) for name in drawn}
    with progress_bar(len(ids), "task embeddings", unit="prompt", progress=progress) as bar:
        for group, batch in prompt_batches(model, ids):
            z = model.last_z(batch).cpu().numpy()
            for name in dict.fromkeys(owners[i] for i in group):
                moments[name].add(z[[owners[i] == name for i in group]])
            bar.update(len(group))
    return {
        task.name: TaskEmbedding(
            task=task.name,
            mean=moments[task.name].mean,
            spread=moments[task.name].spread(),
            n_prompts=n_prompts,
            n_shots=n_shots,
            seed=seed,
            template=template,
            task_digest=task.digest,
            labelled_rows=tuple(sorted(drawn[task.name].labelled_rows)),
            model=model.identity,
        )
        for task in wanted
    }
