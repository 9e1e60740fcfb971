"""Continuations of contexts, scored as tails behind cached prefixes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.prefill import (
    ROWS_PER_DECODE,
    TOKENS_PER_BATCH,
    bytes_per_token,
    length_batches,
    ordered_prefixes,
)
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.activations.queries import nonfinite_logits
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.models.kv_cache import Prefix
from site_lens.models.locking import on_model_no_grad
from site_lens.records.errors import InputError

Tokens = tuple[int, ...]
Row = tuple[Tokens, Tokens]
"""Tokens of a context, and those that follow it but for the last one that is scored, which is not read itself."""
Score = tuple[float, bool]
"""Log-probability of a continuation, in nats, and whether greedy decoding gives it."""


@on_model_no_grad
def score_continuations(
    model: LensModel,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    edits: Sequence[Edit] = (),
    *,
    scored: Callable[[int], object] | None = None,
) -> list[Score]:
    """Score continuations of contexts, in tokens.

    Equal contexts are computed once, and so are continuations that differ in their last token alone.

    Args:
        model: The model.
        contexts: Tokens of each context, one or more.
        continuations: Tokens of what follows each, one or more.
        edits: Edits of column 0, the last context token; the same for every row.
        scored: Told how many scores came in, again and again.

    Raises:
        InputError: A context or a continuation has no token, or both exceed the context of the model.
        ModelError: The logits are not finite.
    """
    members: dict[Tokens, dict[Tokens, list[int]]] = {}
    for i, (context, continuation) in enumerate(zip(contexts, continuations, strict=True)):
        if not context or not continuation:
            raise InputError(f"continuation {i} or its context has no token; there is nothing to score")
        start = tuple(continuation[:-1])  # nothing is cut off: what is too long is refused before anything is computed
        model.encoder.refuse_longer(len(context), room=len(start), text=f": {model.encoder.decode(context[:20])!r}...")
        members.setdefault(tuple(context), {}).setdefault(start, []).append(i)
    scores: list[Score] = [(0.0, False)] * len(contexts)
    starts = {context: list(of_context) for context, of_context in members.items()}
    for rows, logits in _row_logits(model, starts, edits):
        places = [(row, i) for row, (context, start) in enumerate(rows) for i in members[context][start]]
        for (_, i), score in zip(places, _scores(logits, places, continuations), strict=True):
            if math.isnan(score[0]):
                raise nonfinite_logits(model, contexts[i])
            scores[i] = score
        if scored is not None:
            scored(len(places))
    return scores


def _scores(
    logits: Float[Tensor, "row step vocab"],
    places: Sequence[tuple[int, int]],
    continuations: Sequence[Sequence[int]],
) -> list[Score]:
    """Return the scores of continuations at some places: (row of the logits, continuation)."""
    at = [(row, step, token) for row, i in places for step, token in enumerate(continuations[i])]
    row, step, token = torch.tensor(at, device=logits.device).unbind(1)
    lengths = [len(continuations[i]) for _, i in places]
    log_probs = torch.split(logits.log_softmax(-1)[row, step, token].cpu(), lengths)
    hits = torch.split((logits.argmax(-1)[row, step] == token).cpu(), lengths)
    return [(sum(parts.tolist()), bool(hit.all())) for parts, hit in zip(log_probs, hits, strict=True)]


def _row_logits(
    model: LensModel, starts: Mapping[Tokens, Sequence[Tokens]], edits: Sequence[Edit]
) -> Iterator[tuple[list[Row], Float[Tensor, "row step vocab"]]]:
    """Yield rows and their logits from the last context token on, which predicts the first token of a continuation."""
    for contexts, prefix in _prefixes(model, list(starts)):
        asked = [(place, (context, start)) for place, context in enumerate(contexts) for start in starts[context]]
        n_rows = max(1, min(ROWS_PER_DECODE, PREFIX_BUDGET // max(1, prefix.n_bytes // len(contexts))))
        lengths = [1 + len(start) for _, (_, start) in asked]
        for chunk in length_batches(lengths, max_tokens=TOKENS_PER_BATCH, max_rows=n_rows):
            part = prefix.rows([asked[i][0] for i in chunk])
            chosen = [asked[i][1] for i in chunk]
            width = max(lengths[i] for i in chunk)
            padding = [model.encoder.pad] * width  # on the right, where it changes no logits of the tokens before it
            tails = [[context[-1], *start, *padding][:width] for context, start in chosen]
            yield chosen, model.decode(part, torch.tensor(tails, device=model.device), edits)[0]


def _prefixes(model: LensModel, contexts: Sequence[Tokens]) -> Iterator[tuple[list[Tokens], Prefix]]:
    """Yield contexts and the prefixes of all but their last tokens, as many at a time as fit into the budget."""
    if short := [context for context in contexts if not context[1:]]:
        yield short, model.empty_prefix(len(short))
    long = [context for context in contexts if context[1:]]
    if not long:
        return
    max_tokens = int(PREFIX_BUDGET / bytes_per_token(model, long))
    for group in length_batches([len(context) for context in long], max_tokens=max_tokens):
        chosen = [long[i] for i in group]
        yield chosen, ordered_prefixes(model, chosen)
