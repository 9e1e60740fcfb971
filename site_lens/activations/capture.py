"""Capture of task embeddings: mean head outputs at the last token of few-shot prompts."""

from collections.abc import Callable, Iterable, Mapping, Sequence

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
from site_lens.records.wording import listed
from site_lens.tasks.prompt_sampling import PromptSet, prompts_of_embedding, prompts_of_rows
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task, task_list

ADVICE = "use dtype='float32', or 'bfloat16', whose range is as wide"
"""What to do where float16 overflows."""


def last_z_of(
    model: LensModel, prompts: Sequence[Prompt], progress: Callable[[int], object] = lambda n: None
) -> Float[Tensor, "prompt layer head d_head"]:
    """Return z at the last token of every prompt, float32, on the model's device.

    Args:
        model: The model.
        prompts: The prompts.
        progress: Called with the number of prompts of each batch once it is done.
    """
    ids = model.encoder.encode([prompt.text for prompt in prompts])
    z = torch.zeros(len(ids), *model.grid.shape, model.identity.d_head, device=model.device)
    for group, batch in prompt_batches(model, ids):
        z[group] = model.last_z(batch)
        progress(len(group))
    return z


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
    instructions: Mapping[str, str] | None = None,
    progress: bool | None = None,
) -> dict[str, TaskEmbedding]:
    r"""Average every head's z at the last token of few-shot prompts, for several tasks at once.

    Args:
        model: The model.
        tasks: The tasks; prompts are made of their train rows.
        n_prompts: M, prompts a task.
        n_shots: N, demonstrations a prompt; 0 for none, beside `instructions`.
        seed: Seed of the draw; a task's prompts do not depend on the other tasks.
        template: How examples become text; the paper's when None.
        prompt_rows: Rows of train of every prompt by task, (prompt row), demonstrations in order and the query last, to
            use instead of a draw: `n_prompts` prompts of `n_shots` + 1 rows. `embedding.prompts(task)` reads them back.
        instructions: Text before the prompts of each task, by task, such as `"Say the opposite.\n"`. With `n_shots=0`
            the embedding is that of an instruction in place of demonstrations. Queries are asked without it.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        The embedding of each task, by name.

    Raises:
        InputError: A task has too few train rows, a prompt exceeds the context, or `prompt_rows` lack a task, name
            rows that are not there, or are not `n_prompts` of `n_shots` + 1; or `instructions` lack a task.
        FitError: z of some prompt is not finite; `error.fits` holds the embeddings of the other tasks.

    Reference: arXiv 2507.20906, section 3, with M = 50 and N = 10. Davidson et al., arXiv 2505.12075, compare function
    vectors of instructions with those of demonstrations.

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.load_tasks("demo", ["antonym"])
        >>> found = sl.capture_embeddings(sl.load_model("demo"), tasks, n_prompts=4, n_shots=3)
        >>> found["antonym"].mean.shape  # (layer head d_head)
        (6, 8, 32)
    """
    embeddings, broken = captured(
        model, tasks, n_prompts=n_prompts, n_shots=n_shots, seed=seed, template=template, prompt_rows=prompt_rows,
        instructions=instructions, progress=progress,
    )  # fmt: skip
    if broken:
        finite = {name: embedding for name, embedding in embeddings.items() if name not in broken}
        raise FitError("; ".join([*broken.values(), ADVICE]), fits=finite)
    return embeddings


def captured(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    *,
    n_prompts: int,
    n_shots: int,
    seed: int,
    template: PromptTemplate | None,
    prompt_rows: Mapping[str, Sequence[Sequence[int]]] | None = None,
    instructions: Mapping[str, str] | None = None,
    progress: bool | None,
) -> tuple[dict[str, TaskEmbedding], dict[str, str]]:
    """Capture embeddings as `capture_embeddings` does; also return for which tasks z is not finite, and where.

    Zeros stand in the place of their embeddings.
    """
    template, tasks = template or PromptTemplate(), task_list(tasks)
    check_sizes(n_prompts=n_prompts, n_shots=n_shots or None, seed=seed)
    if instructions is not None and (missing := [task.name for task in tasks if task.name not in instructions]):
        raise InputError(f"no instruction for task {missing[0]!r}; there are some for: {listed(instructions)}")
    instructed = {task.name: (instructions or {}).get(task.name, "") for task in tasks}
    if prompt_rows is not None and seed:
        raise InputError(f"prompt_rows leave nothing to draw with seed={seed}; leave out one of the two")

    def prompts_of(task: Task) -> PromptSet:
        written = template.behind(instructed[task.name])
        if prompt_rows is None:
            return prompts_of_embedding(task, written, n_prompts=n_prompts, n_shots=n_shots, seed=seed)
        return _given(task, written, prompt_rows, n_prompts, n_shots)

    sets = [prompts_of(task) for task in tasks]
    embeddings: dict[str, TaskEmbedding] = {}
    broken: dict[str, str] = {}
    with progress_bar(n_prompts * len(sets), "task embeddings", unit="prompt", progress=progress) as bar:
        for task, drawn in zip(tasks, sets, strict=True):
            z = last_z_of(model, drawn.prompts, bar.update).cpu().double().numpy()
            infinite = np.flatnonzero(~np.isfinite(z).all((1, 2, 3)))
            if len(infinite):
                broken[task.name] = (
                    f"the embedding of {task.name!r} is not finite in {model.identity.dtype}: at prompt {infinite[0]} "
                    f"of {n_prompts}, which ends in {drawn.prompts[infinite[0]].text[-40:]!r}, "
                    f"{nonfinite_layers(z[infinite[0]])}"
                )
                z = np.zeros_like(z)
            embeddings[task.name] = TaskEmbedding(
                task=task.name,
                mean=z.mean(0),
                spread=z.std(0, ddof=1) if n_prompts > 1 else np.zeros_like(z[0]),
                n_prompts=n_prompts,
                n_shots=n_shots,
                seed=seed if prompt_rows is None else NO_SEED,
                template=template,
                instruction=instructed[task.name],
                task_digest=task.digest,
                prompt_rows=drawn.rows,
                labelled_rows=tuple(sorted(drawn.labelled_rows)),
                model=model.identity,
            )
    return embeddings, broken


def _given(
    task: Task, template: PromptTemplate, rows: Mapping[str, Sequence[Sequence[int]]], n_prompts: int, n_shots: int
) -> PromptSet:
    if task.name not in rows:
        raise InputError(f"no prompt_rows of task {task.name!r}; there are rows of: {', '.join(rows)}")
    prompts = prompts_of_rows(task, template, rows[task.name])
    shape = (len(prompts.rows), len(prompts.rows[0]))
    if shape != (n_prompts, n_shots + 1):
        raise InputError(
            f"prompt_rows of {task.name!r} are {shape[0]} prompts of {shape[1]} rows, and {n_prompts} of {n_shots + 1} "
            f"were asked for; pass n_prompts={shape[0]} and n_shots={shape[1] - 1}"
        )
    return prompts


def nonfinite_layers(z: np.ndarray) -> str:
    """Say from which layer on z of a prompt, (layer head d_head), is not finite."""
    layers = np.flatnonzero(~np.isfinite(z).all((1, 2)))
    return f"z is not finite from layer {layers[0]} on" if len(layers) else "z is finite in every layer"
