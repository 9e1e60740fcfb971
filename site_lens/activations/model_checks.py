"""Checks of a model: everything that the package builds on, measured on that model."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.generation import generate
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.chat_template import chat_text
from site_lens.models.checks import (
    COMPARED,
    GRADIENT_TOLERANCE,
    TOLERANCE,
    ModelCheck,
    judge,
    precision,
    same_as_transformers,
)
from site_lens.models.context_length import attention_window
from site_lens.models.hooks import Edit
from site_lens.models.library_errors import hooking_errors
from site_lens.models.locking import on_model
from site_lens.models.tokenization import Encoder
from site_lens.models.two_part import watching_joins
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError

PROMPTS = (
    "Q: hot\nA: cold\n\nQ: big\nA:",
    "Q: dog, cat, red\nA:",
    "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA: bad\n\nQ: full\nA: empty\n\nQ: rich\nA:",
)
"""Of different lengths: two of them are padded in a batch, and the last is longer than a sliding window of 8."""
LONGEST = 1100
"""Tokens of the long prompt of a model without a config: longer than sliding windows of 512 and 1024."""
SHORT, PAST_WINDOW = 256, 76
"""Tokens of the long prompt of a model whose attention has no window; beyond the window of one that has."""
N_TAIL = 5
N_GENERATED = 6


@dataclass(frozen=True, slots=True)
class _Probe:
    """A model with the prompts and the embedding that it is checked with."""

    model: LensModel
    texts: tuple[str, ...]
    """`PROMPTS`, or as much of their ends as fits into the context."""
    batch: Batch
    clean: Float[Tensor, "row vocab"]
    embedding: Float[Tensor, "1 layer head d_head"]

    @classmethod
    def of(cls, model: LensModel) -> "_Probe":
        # Behind each other's lengths, so that a batch of them is padded in the shortest of contexts, too.
        room = model.encoder.n_ctx - N_GENERATED
        texts = tuple(_end(model.encoder, text, room - i) for i, text in enumerate(PROMPTS))
        batch = Batch.of(model.encoder.encode(texts), pad=model.encoder.pad, device=model.device)
        if int(batch.lengths.min()) <= N_TAIL:
            raise InputError(
                f"the prompts to check a model with have {int(batch.lengths.min())} tokens in a context of "
                f"{model.encoder.n_ctx}, and need {N_TAIL + 1}"
            )
        noise = torch.randn((1, *model.grid.shape, model.identity.d_head), generator=torch.Generator().manual_seed(0))
        embedding = (noise * torch.tensor(model.identity.z_mask)).to(model.device) * model.last_z(batch).std()
        return cls(model, texts, batch, model.forward(batch), embedding)

    def edits(self, alpha: float | Tensor, column: int = -1) -> list[Edit]:
        """Mix the probe's embedding into all heads."""
        grid = self.model.grid
        gates = alpha if isinstance(alpha, Tensor) else torch.full(grid.shape, alpha, device=self.model.device)
        rows = torch.zeros(1, dtype=torch.long, device=self.model.device)
        return injection(gates[None], self.embedding, rows, heads_per_layer=grid.heads_per_layer, column=column)

    def gap(self, a: Tensor, b: Tensor) -> float:
        """Return the largest difference of logits, in units of their standard deviation."""
        return float((a - b).abs().max()) / (float(self.clean.std()) or 1.0)

    def alone(self, row: int) -> Batch:
        """Return one prompt without padding."""
        length = int(self.batch.lengths[row])
        return Batch(self.batch.tokens[row : row + 1, -length:], self.batch.lengths[row : row + 1])

    def decode(self, batch: Batch, n_tail: int, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Return the logits at the last token, with all but a tail from a cached prefix."""
        prefix = self.model.prefill(batch.without_tail(n_tail))
        return self.model.decode(prefix, batch.tokens[:, -n_tail:], edits)[0][:, -1]


def _end(encoder: Encoder, text: str, most: int) -> str:
    """Return as much of the end of a text as makes no more tokens."""
    return next((text[i:] for i in range(len(text)) if len(encoder.ids([text[i:]])[0]) <= most), text[-1])


@on_model
def check_model(
    model: LensModel, *, longest: int | None = None, each: Callable[[ModelCheck], None] | None = None
) -> tuple[ModelCheck, ...]:
    """Measure on a model everything that fits, injections and evaluations rely on.

    Takes about fifty forward passes over short prompts and four over a long one. The model is not changed.

    Args:
        model: Load it with `check=False` to check one that would be refused.
        longest: Tokens of the long prompt, at most the context. When None, 256, or more than the window of the model's
            attention: where a config says none, no part of it depends on a longer prompt. 1100 without a config.
        each: Told every check as it ends.

    Returns:
        One check for each property; logits are compared in units of their standard deviation, gradients in units of the
        largest entry.
    """
    check_sizes(longest=longest)
    probe = _Probe.of(model)
    gap, clean, forward = probe.gap, probe.clean, partial(model.forward, probe.batch)
    logits = TOLERANCE.get(precision(model.identity), 0.1)
    gradients = GRADIENT_TOLERANCE.get(precision(model.identity), 0.25)
    longest = _longest(model) if longest is None else longest
    n_long = min(longest, model.encoder.n_ctx)
    checks: list[ModelCheck] = []

    def add(check: ModelCheck) -> None:
        checks.append(check)
        if each is not None:
            each(check)

    with hooking_errors(model.identity.name, model.identity.architecture):
        measures: tuple[tuple[str, Callable[[], float | str], float, str], ...] = (
            ("deterministic", lambda: gap(forward(), clean), logits, "logits of the same batch twice (no dropout)"),
            ("bos", lambda: _leading_bos(probe), 1, "BOS tokens at the beginning of a prompt or a chat"),
            ("identity_edit", lambda: gap(forward(probe.edits(0.0)), clean), logits, "alpha 0: logits against clean"),
            ("edit_has_effect", lambda: gap(forward(probe.edits(1.0)), clean), logits, "alpha 1: they must differ"),
            ("embedding_in_z", lambda: _embedding_in_z(probe), 0, "z with alpha 1 against the embedding"),
            ("padding", lambda: _padding(probe), logits, "logits of a left-padded row against the prompt alone"),
            ("pad_token", lambda: _pad_token(probe), logits, "logits when padding is BOS, EOS or another token"),
            ("padded_tail", lambda: _padded_tail(probe), logits, "logits of a tail with padding behind it"),
            ("cached_equals_full", lambda: _cached(probe, 1), logits, "cached against full logits under injection"),
            ("cached_tail", lambda: _cached(probe, N_TAIL), logits, f"the same with a tail of {N_TAIL} tokens"),
            ("gradient", lambda: _gradient(probe, 1), gradients, "gradient of alpha, cached against full"),
            ("gradient_tail", lambda: _gradient(probe, N_TAIL), gradients, f"the same with a tail of {N_TAIL} tokens"),
            ("two_parts", lambda: _two_parts(probe), 0, "calls that concatenate keys and values of a cached prefix"),
            ("long_prompt", lambda: _long_prompt(probe, n_long), logits, f"cached against full, {n_long} tokens"),
            ("generation", lambda: _generation(probe), 0, "prompts whose greedy text differs without a cache"),
        )
        add(same_as_transformers(model, (*COMPARED, longest)))
        for code, measure, threshold, meaning in measures:
            add(judge(code, measure(), threshold, meaning))
    return tuple(checks)


def _longest(model: LensModel) -> int:
    config = getattr(getattr(model.host, "original_model", None), "config", None)
    return LONGEST if config is None else max(SHORT, attention_window(config) + PAST_WINDOW)


def _leading_bos(probe: _Probe) -> float:
    encoder = probe.model.encoder
    bos = encoder.tokenizer.bos_token_id
    rows = encoder.encode(probe.texts)
    with suppress(InputError):  # there is no chat template, or none for such a turn: then no chat is rendered with it
        rows += encoder.ids([chat_text(encoder, [("user", PROMPTS[0])], system=None, thinking=False)])
    return max(next((i for i, token in enumerate(row) if token != bos), len(row)) for row in rows)


def _embedding_in_z(probe: _Probe) -> float:
    gaps = []

    def look(layer: int, z: Tensor) -> Tensor:
        target = probe.embedding[:, layer, : z.shape[1]].to(z.device)
        gaps.append(float((z - target.to(getattr(torch, probe.model.identity.dtype)).float()).abs().max()))
        return z

    looks = [Edit(layer, partial(look, layer)) for layer, n in enumerate(probe.model.grid.heads_per_layer) if n]
    probe.model.forward(probe.batch, [*probe.edits(1.0), *looks])
    return max(gaps, default=math.inf)


def _padding(probe: _Probe) -> float:
    alone = [probe.model.forward(probe.alone(row))[0] for row in range(len(probe.batch))]
    return probe.gap(torch.stack(alone), probe.clean)


def _pad_token(probe: _Probe) -> float:
    encoder = probe.model.encoder
    ids = encoder.encode(probe.texts)
    tokens = {encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id, ids[0][-1]} - {None}
    known = [token for token in tokens if token < probe.clean.shape[1]]
    batches = [Batch.of(ids, pad=token, device=probe.model.device) for token in known]
    return max(probe.gap(probe.model.forward(batch), probe.clean) for batch in batches)


def _padded_tail(probe: _Probe) -> float:
    prefix = probe.model.prefill(probe.batch.without_tail(1))
    logits, _ = probe.model.decode(prefix, probe.batch.tokens[:, -1:].repeat(1, 3))
    return probe.gap(logits[:, 0], probe.clean)


def _two_parts(probe: _Probe) -> float | str:
    with watching_joins() as joins:
        probe.decode(probe.batch, 1)
    return f"attention concatenates keys and values ({', '.join(sorted(joins))}): exact, and slower" if joins else 0


def _cached(probe: _Probe, n_tail: int) -> float:
    edits = probe.edits(0.5, -n_tail)
    return probe.gap(probe.decode(probe.batch, n_tail, edits), probe.model.forward(probe.batch, edits))


@torch.enable_grad()
def _gradient(probe: _Probe, n_tail: int) -> float:
    gradients = []
    for cached in (True, False):
        alpha = torch.full(probe.model.grid.shape, 0.5, device=probe.model.device, requires_grad=True)
        edits = probe.edits(alpha, -n_tail)
        logits = probe.decode(probe.batch, n_tail, edits) if cached else probe.model.forward(probe.batch, edits)
        # Every row weighs differently, so that rows that are mixed up do not add up to the same.
        weights = torch.arange(1.0, len(probe.batch) + 1, device=logits.device)
        loss = (logits.logsumexp(-1) - logits[:, int(probe.batch.tokens[0, -1])]) @ weights
        if not loss.requires_grad:
            return math.inf  # alpha never reached the logits
        gradients.append(torch.autograd.grad(loss, alpha)[0])
    gap, largest = float((gradients[0] - gradients[1]).abs().max()), float(gradients[1].abs().max())
    if largest > 0:
        return gap / largest
    # Behind the last layer nothing reads earlier tokens: of its heads, all but the last token have no gradient.
    return gap if n_tail > 1 and not any(probe.model.grid.heads_per_layer[:-1]) else math.inf


@torch.no_grad()
def _long_prompt(probe: _Probe, length: int) -> float | str:
    ids = probe.model.encoder.ids(["\n\n".join(PROMPTS)])[0]
    if length <= int(probe.batch.lengths.max()):
        return f"{length} tokens are no longer than the short prompts"
    batch = Batch.of([(ids * (length // len(ids) + 1))[:length]], pad=0, device=probe.model.device)
    return probe.gap(probe.decode(batch, N_TAIL), probe.model.forward(batch))


@torch.no_grad()
def _generation(probe: _Probe) -> float | str:
    model = probe.model
    if precision(model.identity) not in ("float32", "float64"):
        return f"greedy text in {precision(model.identity)} depends on the batch; check the model in float32"
    texts = generate(model, probe.texts, probe.edits(0.5), max_new_tokens=N_GENERATED, stop_at="\0")
    n_different = 0
    for row, text in enumerate(texts):
        batch = probe.alone(row)
        new: list[int] = []
        for step in range(N_GENERATED):
            new.append(int(model.forward(batch, probe.edits(0.5, -1 - step)).argmax()))
            if new[-1] == model.encoder.eos:
                break
            batch = Batch(torch.cat([batch.tokens, batch.tokens.new_tensor([new[-1:]])], dim=1), batch.lengths + 1)
        n_different += text != model.encoder.decode(new)
    return n_different
