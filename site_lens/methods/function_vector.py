"""Function vectors of a task, and of all other tasks: what the heads of highest indirect effect write."""

from collections.abc import Callable, Collection

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.head_set import HeadSet
from site_lens.methods.method import Method
from site_lens.methods.validation import choose_layer
from site_lens.models.base import LensModel
from site_lens.records.errors import InputError
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.indirect_effect import indirect_effect


def function_vector(context: ComparisonContext, task: str) -> Method:
    """Add the summed mean outputs of the heads that carry a task to the residual stream at the last prompt token.

    The heads are the `config.n_vector_heads` of highest average indirect effect, or all of a smaller model: on the task
    itself, or, with `config.vector_heads="universal"`, on the mean over all tasks of the context, whose labels then
    count, too. Their outputs are means over `config.effect_prompts` prompts. The layer is chosen on valid among all.
    Generated tokens are left alone.

    Reference: Todd et al., arXiv 2310.15213, section 2.3 and eq. 6. Their paper ranks heads by the effect averaged over
    tasks; their code by the task's own, unless `--universal_set` is given, and that is the default here. As in their
    code, the bias of a layer's output projection is added once a head where there is one (`config.vector_bias`).
    Theirs makes means and effects on queries that the model answers right; see `indirect_effect`. Where attention is
    normalised before it enters the stream (Gemma 2 and 3, OLMo 2), the sum is that before the norm.
    """
    config = context.config
    heads, borrowed = vector_heads(context, task)
    vector = written_by(context.model, heads, context.mean_z(task, config.effect_prompts), bias=config.vector_bias)
    method = Method(
        "function_vector",
        n_labelled=context.labelled("effects", "probes", "valid", task=task) + borrowed,
        stored_bytes=vector.nbytes,
    )
    return choose_layer(context, task, method, lambda layer: adding(vector))


def universal_vector(context: ComparisonContext, task: str) -> Method:
    """Add the mean of the function vectors of all other tasks of the context, leaving this one out.

    A control of `function_vector`: what it reaches is owed to what function vectors have in common, such as the form of
    an answer, and not to the task. Vectors and settings are those of `function_vector`; the layer is chosen on valid
    rows of this task, its only labels that count; those of all other tasks count, too.

    Raises:
        InputError: The context has one task only.

    Reference: function vectors are those of Todd et al., arXiv 2310.15213; their mean over tasks is this toolkit's
    control, and no method of theirs.
    """
    others = [other for other in context.tasks if other != task]
    if not others:
        raise InputError(
            "universal_vector needs a second task, whose function vector it takes; add one or leave it out"
        )
    config = context.config
    vectors, n_labelled = [], context.labelled("valid", task=task)
    for other in others:
        heads = vector_heads(context, other, others)[0]
        mean = context.mean_z(other, config.effect_prompts)
        vectors.append(written_by(context.model, heads, mean, bias=config.vector_bias))
        n_labelled += context.labelled("effects", "probes", task=other)
    vector = torch.stack(vectors).mean(0)
    method = Method(
        "universal_vector",
        n_labelled=n_labelled,
        stored_bytes=vector.nbytes,
        notes=(f"the mean of the function vectors of {len(others)} other tasks",),
    )
    return choose_layer(context, task, method, lambda layer: adding(vector))


def vector_heads(context: ComparisonContext, task: str, among: Collection[str] | None = None) -> tuple[HeadSet, int]:
    """Return the heads of a task's function vector, and how many labelled rows of other tasks chose them.

    Args:
        context: Model, tasks and settings.
        task: The task.
        among: Tasks whose effects choose universal heads; all of the context when None.
    """
    effects, config = indirect_effect(context), context.config
    ranking, chosen_by = effects[task], list(effects if among is None else among)
    if config.vector_heads == "own":
        chosen_by = [task]
    else:
        ranking = ranking.replace(values=np.mean([effects[each].values for each in chosen_by], axis=0))
    others = [other for other in chosen_by if other != task]
    borrowed = sum(context.labelled("effects", "probes", task=other) for other in others)
    return ranking.top(min(config.n_vector_heads, len(context.model.grid))), borrowed


def written_by(
    model: LensModel, heads: HeadSet, z: Float[Tensor, "layer head d_head"], *, bias: bool = False
) -> Float[Tensor, " d_model"]:
    """Return the sum of what heads write when their outputs are `z`: each through its part of W_O.

    Args:
        model: The model.
        heads: The heads.
        z: Outputs of all heads.
        bias: Add the bias of a layer's output projection, where it has one, once for each of its heads.
    """
    mask = torch.tensor(heads.mask(), device=z.device)
    written = []
    for layer, n_heads in enumerate(model.grid.heads_per_layer):
        chosen = torch.nonzero(mask[layer, :n_heads])[:, 0]
        if len(chosen):
            alone = torch.zeros(len(chosen), n_heads, z.shape[-1], device=z.device)
            alone[torch.arange(len(chosen)), chosen] = z[layer, chosen].to(alone.dtype)
            written.append(model.project(layer, alone, bias=bias).sum(0))
    return torch.stack(written).sum(0)


def adding(vector: Float[Tensor, " d_model"]) -> Callable[[Tensor], Tensor]:
    """Return the change that adds a vector to a stream, (row d_model)."""
    return lambda stream: stream + vector.to(stream.device)
