"""Control embeddings: the mean of several tasks, or random directions, mixed in instead of the task's own."""

from collections.abc import Sequence

import numpy as np

from site_lens.activations.embedding import NO_SEED, TaskEmbedding
from site_lens.records.hashing import digest_json, seed_stream


def mean_embedding(embeddings: Sequence[TaskEmbedding]) -> TaskEmbedding:
    """Average the embeddings of several tasks of one model, each counting once.

    Its rows are numbered through the train splits of all tasks, as far as prompts showed them.
    """
    rows, first = [], 0
    for embedding in embeddings:
        rows += [first + row for row in embedding.labelled_rows]
        first += 1 + max(embedding.labelled_rows, default=-1)
    return embeddings[0].replace(
        task=f"mean of {len(embeddings)} tasks",
        mean=np.mean([e.mean for e in embeddings], axis=0),
        spread=np.sqrt(np.mean([e.spread**2 for e in embeddings], axis=0)),
        n_prompts=sum(e.n_prompts for e in embeddings),
        task_digest=digest_json([e.task_digest for e in embeddings]),
        labelled_rows=tuple(rows),
        seed=NO_SEED,
        prompt_rows=None,
    )


def random_embedding(embedding: TaskEmbedding, *, seed: int) -> TaskEmbedding:
    """Draw a random direction for every head, as long as what the embedding has there; rows and spread stay its own."""
    stream = seed_stream(seed, embedding.task_digest, "random embedding")
    return embedding.replace(mean=norm_matched(embedding, stream))


def norm_matched(embedding: TaskEmbedding, stream: np.random.Generator) -> np.ndarray:
    """Draw a random direction for every head, (layer head d_head), with the norm that the embedding has there."""
    directions = stream.normal(size=embedding.mean.shape) * embedding.model.z_mask
    norms, lengths = (np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (embedding.mean, directions))
    return np.asarray(directions / np.where(lengths > 0, lengths, 1) * norms, dtype=np.float32)
