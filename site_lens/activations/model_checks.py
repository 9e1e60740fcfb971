"""The support card of a model: everything that the package builds on, measured on that model."""

import math
from collections.abc import Callable
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
from site_lens.models.checks import COMPARED, TOLERANCE, ModelCheck, judge, precision, same_as_transformers
from site_lens.models.hooks import Edit
from site_lens.models.library_errors import hooking_errors
from site_lens.models.locking import on_model
from site_lens.models.tokenization import Encoder
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError

PROMPTS = (
    "Q: hot\nA: cold\n\nQ: big\nA:",
    "Q: dog, cat, red\nA:",
    "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA: bad\n\nQ: full\nA: empty\n\nQ: rich\nA:",
)
"""Of different lengths: two of them are padded in a batch, and the last is longer than a sliding window of 8."""
LONGEST = 1100
"""Tokens of the long prompt: longer than sliding windows of 512 and 1024."""
N_TAIL = 5
N_GENERATED = 6
GRADIENT_TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 0.25, "float16": 0.05, "int8": 0.25}
"""Largest gap between two ways to compute the gradient of alpha, in units of its largest entry."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """A model and what is asked of it."""

    model: LensModel
    texts: tuple[str, ...]
    """`PROMPTS`, or as much of their ends as fits into the context."""
    batch: Batch
    clean: Float[Tensor, "row vocab"]
    embedding: Float[Tensor, "1 layer head d_head"]
    longest: int

    @classmethod
    def of(cls, model: LensModel, longest: int) -> "_Probe":
        # Behind each other's lengths, so that a batch of them is padded in the shortest of contexts, too.
        room = model.encoder.n_ctx - N_GENERATED
        texts = tuple(_end(model.encoder, text, room - i) for i, text in enumerate(PROMPTS))
        batch = Batch.of(model.encoder.encode(texts), pad=model.encoder.pad, device=model.device)
        if int(batch.lengths.min()) <= N_TAIL:
            raise InputError(
                f"the prompts to examine a model with have {int(batch.lengths.min())} tokens in a context of "
                f"{model.encoder.n_ctx}, and need {N_TAIL + 1}"
            )
        noise = torch.randn((1, *model.grid.shape, model.identity.d_head), generator=torch.Generator().manual_seed(0))
        embedding = noise.to(model.device) * model.last_z(batch).std()
        return cls(model, texts, batch, model.forward(batch), embedding, longest)

    def edits(self, alpha: float | Tensor, column: int = -1) -> list[Edit]:
        """Mix the probe's embedding into all heads."""
        grid = self.model.grid
        gates = alpha if isinstance(alpha, Tensor) else torch.full(grid.shape, alpha, device=self.model.device)
        rows = torch.zeros(1, dtype=torch.long, device=self.model.device)
        return injection(gates[None], self.embedding, rows, heads_per_layer=grid.heads_per_layer, column=column)

    def gap(self, one: Tensor, other: Tensor) -> float:
        """Largest difference of logits, in units of their standard deviation."""
        return float((one - other).abs().max()) / (float(self.clean.std()) or 1.0)


def _end(encoder: Encoder, text: str, most: int) -> str:
    """Return as much of the end of a text as makes no more tokens."""
    return next((text[i:] for i in range(len(text)) if len(encoder.ids([text[i:]])[0]) <= most), text[-1])


Measure = Callable[[_Probe], float | str]
"""Returns what was measured, or why it was not."""


@on_model
def check_model(model: LensModel, *, longest: int = LONGEST) -> tuple[ModelCheck, ...]:
    """Measure on a model everything that fits, injections and evaluations rely on.

    Takes about fifty forward passes over short prompts and four over a long one. The model is not changed.

    Args:
        model: Load it with `check=False` to examine one that would be refused.
        longest: Tokens of the long prompt; choose more than the model's sliding window, if it has one.

    Returns:
        One check for each property; logits are compared in units of their standard deviation, gradients in units of the
        largest entry.
    """
    check_sizes(longest=longest)
    probe = _Probe.of(model, longest)
    n_long = min(longest, model.encoder.n_ctx)
    logits = TOLERANCE.get(precision(model.identity), 0.1)
    gradients = GRADIENT_TOLERANCE.get(precision(model.identity), 0.25)
    battery: tuple[tuple[str, Measure, float, str], ...] = (
        ("deterministic", _deterministic, logits, "logits of the same batch twice (dropout must be off)"),
        ("bos", _leading_bos, 1, "BOS tokens at the beginning of a prompt or a chat"),
        ("identity_edit", _identity_edit, logits, "logits with alpha 0 against the clean model"),
        ("edit_has_effect", _edit_has_effect, logits, "logits with alpha 1, which must differ from the clean ones"),
        ("embedding_in_z", _embedding_in_z, 0, "z with alpha 1 against the embedding"),
        ("padding", _padding, logits, "logits of a left-padded row against the prompt alone"),
        ("pad_token", _pad_token, logits, "logits when padding is BOS, EOS or another token"),
        ("padded_tail", _padded_tail, logits, "logits of a tail with padding behind it"),
        ("cached_equals_full", partial(_cached, 1), logits, "cached against full logits under injection"),
        ("cached_tail", partial(_cached, N_TAIL), logits, f"the same with a tail of {N_TAIL} tokens"),
        ("gradient", partial(_gradient, 1), gradients, "gradient of alpha, cached against full"),
        ("gradient_tail", partial(_gradient, N_TAIL), gradients, f"the same with a tail of {N_TAIL} tokens"),
        ("long_prompt", _long_prompt, logits, f"cached against full logits of a prompt of {n_long} tokens"),
        ("generation", _generation, 0, "prompts whose greedy text under injection differs from that without a cache"),
    )
    with hooking_errors(model.identity.name, model.identity.architecture):
        measured = (judge(code, measure(probe), threshold, meaning) for code, measure, threshold, meaning in battery)
        return same_as_transformers(model, (*COMPARED, longest)), *measured


def _deterministic(probe: _Probe) -> float:
    return probe.gap(probe.model.forward(probe.batch), probe.clean)


def _leading_bos(probe: _Probe) -> float:
    encoder = probe.model.encoder
    bos = encoder.tokenizer.bos_token_id
    try:
        chat = encoder.ids([chat_text(encoder, [("user", PROMPTS[0])], system=None, thinking=False)])
    except InputError:  # there is no chat template, or none for such a turn: then no chat is rendered with it
        chat = []
    rows = [*encoder.encode(probe.texts), *chat]
    return max(next((i for i, token in enumerate(row) if token != bos), len(row)) for row in rows)


def _identity_edit(probe: _Probe) -> float:
    return probe.gap(probe.model.forward(probe.batch, probe.edits(0.0)), probe.clean)


def _edit_has_effect(probe: _Probe) -> float:
    return probe.gap(probe.model.forward(probe.batch, probe.edits(1.0)), probe.clean)


def _embedding_in_z(probe: _Probe) -> float:
    gaps = []

    def look(layer: int, z: Tensor) -> Tensor:
        target = probe.embedding[:, layer, : z.shape[1]].to(z.device)
        gaps.append(float((z - target.to(getattr(torch, probe.model.identity.dtype)).float()).abs().max()))
        return z

    looks = [Edit(layer, partial(look, layer)) for layer, n in enumerate(probe.model.grid.heads_per_layer) if n]
    probe.model.forward(probe.batch, [*probe.edits(1.0), *looks])
    return max(gaps, default=math.inf)


def _alone(probe: _Probe, row: int) -> Batch:
    length = int(probe.batch.lengths[row])
    return Batch(probe.batch.tokens[row : row + 1, -length:], probe.batch.lengths[row : row + 1])


def _padding(probe: _Probe) -> float:
    alone = [probe.model.forward(_alone(probe, row))[0] for row in range(len(probe.batch))]
    return probe.gap(torch.stack(alone), probe.clean)


def _pad_token(probe: _Probe) -> float:
    encoder = probe.model.encoder
    ids = encoder.encode(probe.texts)
    tokens = {encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id, ids[0][-1]} - {None}
    known = [token for token in tokens if token < probe.clean.shape[1]]
    batches = [Batch.of(ids, pad=token, device=probe.model.device) for token in known]
    return max(probe.gap(probe.model.forward(batch), probe.clean) for batch in batches)


def _padded_tail(probe: _Probe) -> float:
    tail = probe.batch.tokens[:, -1:]
    prefix = probe.model.prefill(probe.batch.without_tail(1))
    logits, _ = probe.model.decode(prefix, torch.cat([tail, tail, tail], dim=1))
    return probe.gap(logits[:, 0], probe.clean)


def _cached(n_tail: int, probe: _Probe) -> float:
    edits = probe.edits(0.5, -n_tail)
    prefix = probe.model.prefill(probe.batch.without_tail(n_tail))
    logits, _ = probe.model.decode(prefix, probe.batch.tokens[:, -n_tail:], edits)
    return probe.gap(logits[:, -1], probe.model.forward(probe.batch, edits))


@torch.enable_grad()
def _gradient(n_tail: int, probe: _Probe) -> float:
    prefix = probe.model.prefill(probe.batch.without_tail(n_tail))
    found = []
    for cached in (True, False):
        alpha = torch.full(probe.model.grid.shape, 0.5, device=probe.model.device, requires_grad=True)
        edits = probe.edits(alpha, -n_tail)
        logits = (
            probe.model.decode(prefix, probe.batch.tokens[:, -n_tail:], edits)[0][:, -1]
            if cached
            else probe.model.forward(probe.batch, edits)
        )
        # Every row weighs differently, so that rows that are mixed up do not add up to the same.
        weights = torch.arange(1.0, len(probe.batch) + 1, device=logits.device)
        loss = (logits.logsumexp(-1) - logits[:, int(probe.batch.tokens[0, -1])]) @ weights
        if not loss.requires_grad:
            return math.inf  # alpha never reached the logits
        found.append(torch.autograd.grad(loss, alpha)[0])
    gap, largest = float((found[0] - found[1]).abs().max()), float(found[1].abs().max())
    if largest > 0:
        return gap / largest
    # Behind the last layer nothing reads earlier tokens: of one layer, all but the last token have no gradient.
    return gap if n_tail > 1 and probe.model.grid.n_layers == 1 else math.inf


def _long_prompt(probe: _Probe) -> float | str:
    ids = probe.model.encoder.ids(["\n\n".join(PROMPTS)])[0]
    length = min(probe.longest, probe.model.encoder.n_ctx)
    if length <= int(probe.batch.lengths.max()):
        return f"{length} tokens are no longer than the short prompts"
    batch = Batch.of([(ids * (length // len(ids) + 1))[:length]], pad=0, device=probe.model.device)
    with torch.no_grad():
        logits, _ = probe.model.decode(probe.model.prefill(batch.without_tail(N_TAIL)), batch.tokens[:, -N_TAIL:])
        return probe.gap(logits[:, -1], probe.model.forward(batch))


def _generation(probe: _Probe) -> float | str:
    model = probe.model
    if precision(model.identity) not in ("float32", "float64"):
        return f"greedy text in {precision(model.identity)} depends on the batch; examine the model in float32"
    made = generate(model, probe.texts, probe.edits(0.5), max_new_tokens=N_GENERATED, stop_at="\0")
    return sum(text != _greedy_without_cache(probe, row) for row, text in enumerate(made))


@torch.no_grad()
def _greedy_without_cache(probe: _Probe, row: int) -> str:
    batch, made = _alone(probe, row), []
    for step in range(N_GENERATED):
        made.append(int(probe.model.forward(batch, probe.edits(0.5, -1 - step)).argmax()))
        if made[-1] == probe.model.encoder.eos:
            break
        batch = Batch(torch.cat([batch.tokens, batch.tokens.new_tensor([made[-1:]])], dim=1), batch.lengths + 1)
    return probe.model.encoder.decode(made)
