"""First-token metrics of methods that ask the same prompts."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.generation import of_all_tokens
from site_lens.activations.prefill import ROWS_PER_DECODE, bytes_per_token, length_batches, ordered_prefixes
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.activations.queries import Queries
from site_lens.methods.method import Method
from site_lens.models.base import LensModel

METRICS = ("first_token", "rank", "log_prob")

LEAST_LOG_PROB = float(np.log(np.finfo(np.float32).tiny))
"""Log-probability, in nats, that stands where there is none (-87.3): of logits that are not finite."""


@dataclass
class Scores:
    """First-token metrics of one method."""

    metrics: dict[str, np.ndarray]
    """By name, (query): whether the first token is right, its rank, and its log-probability in nats."""
    top_tokens: np.ndarray
    """(query): the most probable token."""
    seconds: float = 0.0
    """Time of prefill and decode together; a prefix that methods share counts for each of them."""
    nonfinite: list[int] = field(default_factory=list)
    """Queries whose logits were not finite: wrong, of the last rank, and of the least log-probability."""


@torch.no_grad()
def score_methods(
    model: LensModel,
    queries: Queries,
    methods: Sequence[Method],
    *,
    answered: Callable[[int], object] | None = None,
) -> Iterator[tuple[Method, Scores]]:
    """Score methods that ask the same prompts.

    A group of prompts is prefilled once for all methods that leave all tokens but the last as they are, and dropped
    before the next group; the others prefill it under their own edits.
    """
    n, prepared = len(queries), []
    for method in methods:
        edits = method.edits(model)
        own_prefix = bool(of_all_tokens(edits)) or method.context is not None
        scores = Scores({name: np.zeros(n) for name in METRICS}, np.zeros(n, dtype=np.int64))
        prepared.append((method, edits, own_prefix, scores))
    any_shares = not all(own_prefix for _, _, own_prefix, _ in prepared)
    max_tokens = int(PREFIX_BUDGET / bytes_per_token(model, queries.ids))
    for group in length_batches(queries.lengths, max_tokens=max_tokens, max_rows=ROWS_PER_DECODE):
        group_queries = queries.only(group)
        start = time.perf_counter()
        shared = ordered_prefixes(model, group_queries.ids) if any_shares else None
        shared_seconds = time.perf_counter() - start
        for method, edits, own_prefix, scores in prepared:
            start = time.perf_counter()
            with method.around(model):
                clean = None if own_prefix else shared
                prefix = clean or ordered_prefixes(model, group_queries.ids, of_all_tokens(edits))
                logits = model.decode(prefix, group_queries.tail(model.device), edits)[0][:, -1]
                if method.on_logits is not None:
                    logits = method.on_logits(logits)
                _take_down(scores, group, group_queries, logits)
            scores.seconds += time.perf_counter() - start + (0.0 if own_prefix else shared_seconds)
            if answered is not None:
                answered(len(group))
    return ((method, scores) for method, _, _, scores in prepared)


def _take_down(scores: Scores, group: Sequence[int], questions: Queries, logits: Float[Tensor, "row vocab"]) -> None:
    targets = questions.targets(logits.device)
    log_prob = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    none = log_prob.isnan().cpu().numpy()  # of minus infinity, which calibration may give, the rank is known
    right, rank = questions.right(logits).cpu().numpy(), target_rank(logits, targets).cpu().numpy()
    scores.metrics["first_token"][group] = np.where(none, False, right)
    scores.metrics["rank"][group] = np.where(none, logits.shape[1], rank)
    certain = torch.where(log_prob.isfinite(), log_prob, LEAST_LOG_PROB)
    scores.metrics["log_prob"][group] = certain.cpu().numpy()
    scores.top_tokens[group] = logits.argmax(-1).cpu().numpy()
    scores.nonfinite += [query for query, broken in zip(group, none, strict=True) if broken]


def target_rank(logits: Float[Tensor, "row vocab"], targets: Tensor) -> Tensor:
    """Return the rank of each row's target, 1 = most probable; equal logits count as better."""
    target_logits = logits.gather(1, targets[:, None])
    return (logits >= target_logits).sum(-1)
