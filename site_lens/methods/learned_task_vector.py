"""The learnable task vector: a weighted sum of mean head outputs, added to each layer."""

import torch

from site_lens.activations.injection import injection
from site_lens.methods.method import Method
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.learned_gates import head_weights


def learned_task_vector(context: ComparisonContext, task: str) -> Method:
    """Add w times the task embedding to z, with one learned weight of any sign and size a head: z + w t.

    Through W_O this adds the weighted sum of the heads' mean outputs to what the attention block of each layer writes.
    Weights, learning rate and checkpoint are those of `head_weights`.

    Reference: Saglam et al., arXiv 2502.05390, section 4; theirs adds to the layer's output, behind the MLP.
    """
    scores, embedding = head_weights(context)[task], context.embeddings()[task]

    def edits(model: LensModel) -> list[Edit]:
        model.identity.check_use(embedding.model, f"the embedding of {task!r}")
        return injection(
            torch.tensor(scores.values, device=model.device)[None],
            torch.tensor(embedding.mean, device=model.device)[None],
            torch.zeros(1, dtype=torch.long, device=model.device),
            heads_per_layer=model.grid.heads_per_layer,
            rule="additive",
        )

    return Method(
        "learned_task_vector",
        edits=edits,
        n_labelled=scores.n_labelled or 0,
        n_trained=len(scores.grid),
        stored_bytes=scores.values.nbytes + embedding.mean.nbytes,
        notes=scores.notes,
    )
