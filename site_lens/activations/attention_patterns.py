"""Attention patterns of chosen heads on a task's prompts."""

from collections.abc import Iterable, Sequence

import numpy as np

from site_lens.activations.attention_sample import AttentionSample
from site_lens.heads.head_set import Head
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task

SHOTS = (0, 3)
"""Demonstrations in the prompts of a sample: the bare query, where SITE acts, and one that shows the task."""


@on_model
def sample_attention(
    model: LensModel,
    task: Task,
    heads: Iterable[Head | str],
    *,
    n_shots: Sequence[int] = SHOTS,
    template: PromptTemplate | None = None,
    seed: int = 0,
) -> AttentionSample:
    """Record what some heads attend to on one test query of a task, without any edit.

    Args:
        model: The model.
        task: The task; the query is drawn from its test rows, demonstrations from train.
        heads: The heads; a few, as the record holds (query key) for each.
        n_shots: Demonstrations of each prompt.
        template: How examples become text; the paper's when None.
        seed: Seed of the draws.

    Raises:
        InputError: No head or no prompt is asked for, a head is not the model's, or the task has too few rows.
    """
    check_sizes(seed=seed)
    chosen = [Head.parse(head) if isinstance(head, str) else head for head in heads]
    if not chosen or not n_shots:
        raise InputError("sample_attention needs at least one head and one prompt")
    if unknown := [head for head in chosen if head not in model.grid]:
        raise InputError(f"{unknown[0]} is not in a grid of {model.grid}")
    stream = seed_stream(seed, task.digest, "attention")
    query = [task.test[int(stream.integers(len(task.test)))]]
    template = template or PromptTemplate()
    texts = [few_shot_prompts(task, query, template, n_shots=n, stream=stream).prompts[0].text for n in n_shots]
    tokens, attended = zip(*(attend(model, text, chosen) for text in texts), strict=True)
    width = max(map(len, tokens))
    padding = [(0, width - len(of_prompt)) for of_prompt in tokens]
    patterns = [np.pad(pattern, [(0, 0), pad, pad]) for pattern, pad in zip(attended, padding, strict=True)]
    return AttentionSample(
        task=task.name,
        model=model.identity,
        heads=tuple(map(str, chosen)),
        tokens=tokens,
        n_shots=tuple(n_shots),
        patterns=np.stack(patterns),
    )


def attend(model: LensModel, text: str, heads: Sequence[Head]) -> tuple[tuple[str, ...], Float32]:
    """Return the tokens of a text, BOS included, and what some heads attend to in it, (head query key).

    Raises:
        InputError: The text has no tokens, or more than the context holds.
    """
    (row,) = model.encoder.encode([text])
    patterns = model.attention(Batch.of([row], pad=model.encoder.pad, device=model.device), heads)
    pattern: Float32 = patterns[0].cpu().numpy()
    return tuple(model.encoder.texts(row)), pattern
