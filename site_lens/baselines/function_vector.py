"""Function vectors: what the heads of highest indirect effect write, added behind one layer."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.baselines.choosing import choose_layer
from site_lens.core.heads import HeadSet
from site_lens.interventions.methods import Method
from site_lens.models.protocol import LensModel
from site_lens.selectors.indirect_effect import indirect_effect
from site_lens.selectors.workbench import Workbench


def function_vector(bench: Workbench, task: str) -> Method:
    """Add the summed mean outputs of the heads that carry a task to the residual stream at the last prompt token.

    The heads are the `config.n_vector_heads` of highest average indirect effect on the task itself, or all of a smaller
    model; their outputs are means over the M prompts of the task embedding. The layer is chosen on valid among all.
    Generated tokens are left alone.

    Reference: Todd et al., arXiv 2310.15213, section 2.3 and eq. 6. Theirs ranks heads by the indirect effect averaged
    over tasks, so that one set of heads serves all of them; here no task borrows the labels of another. Where
    attention is normalised before it enters the stream (Gemma 2 and 3, OLMo 2), the sum is that before the norm.
    """
    grid = bench.model.grid
    heads = indirect_effect(bench)[task].top(min(bench.config.n_vector_heads, len(grid)))
    vector = written_by(bench.model, heads, bench.mean_z(task))
    method = Method(
        "function_vector",
        n_labelled=bench.labelled("embedding", "probes", "valid", task=task),
        stored_bytes=vector.numel() * vector.element_size(),
    )
    return choose_layer(bench, task, method, lambda layer: adding(vector))


def written_by(model: LensModel, heads: HeadSet, z: Float[Tensor, "layer head d_head"]) -> Float[Tensor, " d_model"]:
    """Return the sum of what heads write when their outputs are `z`: each through its part of W_O, without bias."""
    mask = torch.tensor(heads.mask(), device=z.device)
    kept = z * mask[..., None]
    n_heads = model.grid.heads_per_layer
    layers = [layer for layer, n in enumerate(n_heads) if mask[layer, :n].any()]
    return torch.stack([model.project(layer, kept[layer, : n_heads[layer]][None])[0] for layer in layers]).sum(0)


def adding(vector: Float[Tensor, " d_model"]) -> Callable[[Tensor], Tensor]:
    """Return the change that adds a vector to a stream, (row d_model)."""
    return lambda stream: stream + vector.to(stream.device)
