"""Scores of continuations: those of a full forward pass, whatever stands beside them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.activations.continuations import score_continuations
from site_lens.models.batch import Batch
from tests.conftest import Models
from tests.hosts import EVERY_HOST

Edits = Callable[[int], list[sl.Edit]]
"""Edits of a column."""


def halved(model: sl.LensModel) -> Edits:
    """Half of every head's output at a column."""
    layers = [layer for layer, n in enumerate(model.grid.heads_per_layer) if n]
    return lambda column: [sl.Edit(layer, lambda z: 0.5 * z, column) for layer in layers]


def in_full(model: sl.LensModel, context: list[int], continuation: list[int], edits: Edits) -> tuple[float, bool]:
    """Score token by token with whole forward passes, no cache: the last context token moves to the left."""
    total, greedy = 0.0, True
    for n, token in enumerate(continuation):
        batch = Batch.of([context + continuation[:n]], pad=0, device=model.device)
        with torch.no_grad():
            logits = model.forward(batch, edits(-1 - n))[0]
        total += float(logits.log_softmax(-1)[token])
        greedy = greedy and int(logits.argmax()) == token
    return total, greedy


def pairs(model: sl.LensModel) -> tuple[list[list[int]], list[list[int]]]:
    """Contexts and continuations of mixed lengths; some share the context, some begin alike, some are greedy."""
    stream = np.random.default_rng(0)
    tokens = model.encoder.ordinary_tokens
    contexts = [stream.choice(tokens, n).tolist() for n in (9, 1, 4, 1, 14)]
    asked = [(context, stream.choice(tokens, n).tolist()) for context in contexts for n in (1, 3)]
    context, continuation = asked[1]
    asked += [(context, [*continuation[:-1], token]) for token in tokens[:2]]
    with torch.no_grad():
        best = model.forward(Batch.of([contexts[0]], pad=0, device=model.device)).argmax(-1).tolist()
    asked.append((contexts[0], best))
    return [context for context, _ in asked], [continuation for _, continuation in asked]


@pytest.mark.parametrize("host", EVERY_HOST)
def test_scores_are_those_of_full_forward_passes(host: str, hosted: Models) -> None:
    model = hosted(host)
    contexts, continuations = pairs(model)
    both: tuple[Edits, ...] = (lambda column: [], halved(model))
    for edits in both:
        expected = [in_full(model, *pair, edits) for pair in zip(contexts, continuations, strict=True)]
        scores = score_continuations(model, contexts, continuations, edits(0))
        assert [total for total, _ in scores] == pytest.approx([total for total, _ in expected], abs=1e-4)
        assert [greedy for _, greedy in scores] == [greedy for _, greedy in expected]
    plain = score_continuations(model, contexts, continuations)
    assert plain[-1][1] and not all(greedy for _, greedy in plain)
    assert plain != scores


def test_what_fills_the_context_is_scored_and_one_token_more_is_refused_first(
    demo: sl.LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = sl.wrap_model(demo.host, name="demo", check=False)
    demo.encoder.n_ctx = n_ctx = 64
    token = demo.encoder.ordinary_tokens[0]
    (whole,) = score_continuations(demo, [[token]], [[token] * n_ctx])
    assert math.isfinite(whole[0])
    monkeypatch.setattr(type(demo), "prefill", lambda *args, **kwargs: pytest.fail("computed before it was refused"))
    with pytest.raises(sl.InputError):
        score_continuations(demo, [[token, token], [token, token]], [[token], [token] * n_ctx])


def test_what_has_no_token_is_refused_and_logits_that_are_no_number_are_an_error(demo: sl.LensModel) -> None:
    assert score_continuations(demo, [], []) == []
    for context, continuation in (([], [5]), ([5], [])):
        with pytest.raises(sl.InputError):
            score_continuations(demo, [context], [continuation])
    with pytest.raises(sl.ModelError):
        score_continuations(demo, [[5, 6]], [[7]], [sl.Edit(0, lambda z: z * math.nan, 0)])


def test_a_prefix_without_a_token_starts_a_prompt(demo: sl.LensModel) -> None:
    ids = demo.encoder.encode(["Q: hot\nA:", "Q: big\nA:"])
    batch = Batch.of(ids, pad=0, device=demo.device)
    with torch.no_grad():
        logits, grown = demo.decode(demo.empty_prefix(2), batch.tokens)
        assert torch.allclose(logits[:, -1], demo.forward(batch), atol=1e-4)
    assert grown.width == len(ids[0]) and sl.generate(demo, ["Q: hot\nA:"], max_new_tokens=1, stop_at=())
