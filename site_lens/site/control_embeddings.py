"""Embeddings that hold no task, or no single one: what controls mix in instead of the task's own."""

from collections.abc import Sequence

import numpy as np

from site_lens.activations.embedding import NO_SEED, TaskEmbedding
from site_lens.records.hashing import digest_json, seed_stream


def mean_embedding(embeddings: Sequence[TaskEmbedding]) -> TaskEmbedding:
    """Average the embeddings of several tasks of one model, each counting once.

    Its rows are numbered through the train splits of all tasks, as far as prompts showed them.
    """
    rows, first = [], 0
    for one in embeddings:
        rows += [first + row for row in one.labelled_rows]
        first += 1 + max(one.labelled_rows, default=-1)
    return embeddings[0].replace(
        task=f"mean of {len(embeddings)} tasks",
        mean=np.mean([one.mean for one in embeddings], axis=0),
        spread=np.sqrt(np.mean([one.spread**2 for one in embeddings], axis=0)),
        n_prompts=sum(one.n_prompts for one in embeddings),
        task_digest=digest_json([one.task_digest for one in embeddings]),
        labelled_rows=tuple(rows),
        seed=NO_SEED,
        prompt_rows=None,
    )


def random_embedding(embedding: TaskEmbedding, *, seed: int) -> TaskEmbedding:
    """Draw a random direction for every head, as long as what the embedding has there; rows and spread stay its own."""
    stream = seed_stream(seed, embedding.task_digest, "random embedding")
    return embedding.replace(mean=norm_matched(embedding.mean, stream))


def norm_matched(mean: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Draw a random direction for every head, (layer head d_head), with the norm that the embedding has there."""
    drawn = stream.normal(size=mean.shape)
    length = np.linalg.norm(drawn, axis=-1, keepdims=True)
    found: np.ndarray = (drawn / length * np.linalg.norm(mean, axis=-1, keepdims=True)).astype(np.float32)
    return found
