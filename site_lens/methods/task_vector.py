"""Task vectors: the mean residual stream of few-shot prompts, put in the place of a query's own."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from site_lens.methods.method import Method
from site_lens.methods.validation import choose_layer
from site_lens.selectors.context import ComparisonContext


def task_vector(context: ComparisonContext, task: str) -> Method:
    """Overwrite the residual stream behind one layer at the last prompt token with its mean over few-shot prompts.

    The prompts are the M prompts of N demonstrations that the task embedding is made of, so that both use the same
    labelled rows; their queries are rows of train, whose answers they do not show. The layer is chosen on valid among
    all.

    Reference: Hendel, Geva and Globerson, arXiv 2310.15916, section 2.2 and 3.1. Theirs averages two dummy queries
    behind one set of five demonstrations, which are drawn anew for each test query.
    """
    means = mean_residual(context, task)
    method = Method(
        "task_vector",
        n_labelled=context.labelled("embedding", "valid", task=task),
        stored_bytes=means[0].nbytes,
    )
    return choose_layer(context, task, method, lambda layer: overwriting(means[layer]))


def mean_residual(context: ComparisonContext, task: str) -> Float[Tensor, "layer d_model"]:
    """Return the mean residual stream behind every layer at the last token of the embedding's prompts."""
    texts = [prompt.text for prompt in context.embedding_set(task).prompts]
    return context.mean_over(texts, lambda batch: context.model.last_outputs(batch, "residual"))


def overwriting(vector: Float[Tensor, " d_model"]) -> Callable[[Tensor], Tensor]:
    """Return the change that puts a vector in the place of a stream, (row d_model)."""
    return lambda stream: vector.to(stream.device).expand_as(stream)
