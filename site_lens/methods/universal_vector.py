"""Universal function vector: the mean of other tasks' function vectors, which knows nothing of the task itself."""

import torch

from site_lens.methods.function_vector import adding, vector_heads, written_by
from site_lens.methods.method import Method
from site_lens.methods.validation import choose_layer
from site_lens.records.errors import InputError
from site_lens.selectors.context import ComparisonContext


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
        stored_bytes=vector.numel() * vector.element_size(),
        notes=(f"the mean of the function vectors of {len(others)} other tasks",),
    )
    return choose_layer(context, task, method, lambda layer: adding(vector))
