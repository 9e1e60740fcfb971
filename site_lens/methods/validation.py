"""Choice of a layer, a strength or any other setting of a method on the queries of valid."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from site_lens.activations.queries import Queries
from site_lens.methods.first_token_metrics import score_methods
from site_lens.methods.method import Method
from site_lens.models.hooks import Edit
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import zero_shot_prompts


def choose(context: ComparisonContext, task: str, candidates: Sequence[Method]) -> Method:
    """Return the candidate that answers most queries of valid right, first tokens compared.

    The queries are `config.n_valid` rows of valid without demonstrations, those that SITE chooses its checkpoint on;
    test is never looked at. Of equal accuracies the higher mean log-probability wins, then the earlier candidate.
    Candidates that change the last prompt token only share one prefix.

    Args:
        context: Model, tasks and settings.
        task: Name of the task.
        candidates: What to choose from: one or more, none of which shows demonstrations.
    """
    queries = valid_questions(context, task)
    scored = [
        (scores.metrics["first_token"].mean(), scores.metrics["log_prob"].mean())
        for _, scores in score_methods(context.model, queries, candidates)
    ]
    return candidates[scored.index(max(scored))]


def valid_questions(context: ComparisonContext, task: str) -> Queries:
    """Return the rows of valid that methods are chosen on, as queries without demonstrations."""
    return Queries.of(context.model, zero_shot_prompts(context.valid_rows(task), context.config.template))


def valid_losses(context: ComparisonContext, queries: Queries, methods: Sequence[Method]) -> list[float]:
    """Return the mean cross-entropy of the first answer tokens under each method, in nats: the loss of checkpoints.

    It is NaN where the logits of a query are not finite.
    """
    return [
        float("nan") if scores.nonfinite else -float(scores.metrics["log_prob"].mean())
        for _, scores in score_methods(context.model, queries, methods)
    ]


def choose_layer(
    context: ComparisonContext, task: str, method: Method, change_at: Callable[[int], Callable[[Tensor], Tensor]]
) -> Method:
    """Choose the layer behind which a method changes the residual stream at the last prompt token.

    Args:
        context: Model, tasks and settings.
        task: Name of the task.
        method: The method without its edits; a note that names the layer is added to it.
        change_at: Returns what a layer's candidate does to the stream, (row d_model) to (row d_model).
    """

    def candidate(layer: int) -> Method:
        edits = (Edit(layer, change_at(layer), hook_point="residual"),)
        note = f"{method.name} of {task!r} acts behind layer {layer}, which was chosen on valid"
        return replace(method, edits=lambda model: edits, notes=(*method.notes, note))

    return choose(context, task, [candidate(layer) for layer in range(context.model.grid.n_layers)])
