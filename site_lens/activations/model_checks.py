"""Checks of a model: everything that the package builds on, measured on that model."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.generation import generate
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.bridge import hooking_errors
from site_lens.models.chat_template import chat_text
from site_lens.models.checks import COMPARED, ModelCheck, Probe, judge, precision, same_as_transformers, tolerances
from site_lens.models.context_length import attention_window
from site_lens.models.hooks import Edit, z_edits
from site_lens.models.locking import exact_products, on_model
from site_lens.models.plain_transformers import config_of
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


def _end(encoder: Encoder, text: str, most: int) -> str:
    """Return as much of the end of a text as makes no more tokens."""
    return next((text[i:] for i in range(len(text)) if len(encoder.ids([text[i:]])[0]) <= most), text[-1])


def _probe_of(model: LensModel) -> tuple[Probe, list[str], Float[Tensor, "1 layer head d_head"]]:
    """Return a probe whose edits mix an embedding in, its prompts (`PROMPTS`, or their ends), and the embedding."""
    # Behind each other's lengths, so that a batch of them is padded in the shortest of contexts, too.
    room = model.encoder.n_ctx - N_GENERATED
    texts = [_end(model.encoder, text, room - i) for i, text in enumerate(PROMPTS)]
    batch = Batch.of(model.encoder.encode(texts), pad=model.encoder.pad, device=model.device)
    if (shortest := int(batch.lengths.min())) <= N_TAIL:
        raise InputError(
            f"the prompts to check a model with have {shortest} tokens in a context of {model.encoder.n_ctx}, and need "
            f"{N_TAIL + 1}"
        )
    noise = torch.randn((1, *model.grid.shape, model.identity.d_head), generator=torch.Generator().manual_seed(0))
    embedding = (noise * torch.tensor(model.identity.z_mask)).to(model.device) * model.last_z(batch).std()

    def injected(alpha: Tensor, column: int) -> list[Edit]:
        rows = torch.zeros(1, dtype=torch.long, device=model.device)
        return injection(alpha[None], embedding, rows, heads_per_layer=model.grid.heads_per_layer, column=column)

    return Probe(model, batch, model.forward(batch), injected), texts, embedding


@on_model
@exact_products()
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
    probe, texts, embedding = _probe_of(model)
    logits, gradients = tolerances(model.identity)
    if longest is None:
        config = config_of(model.host)
        longest = LONGEST if config is None else max(SHORT, attention_window(config) + PAST_WINDOW)
    n_long = min(longest, model.encoder.n_ctx)
    tail_too = f"the same with a tail of {N_TAIL} tokens"
    checks: list[ModelCheck] = []

    def add(check: ModelCheck) -> None:
        checks.append(check)
        if each is not None:
            each(check)

    with hooking_errors(model.identity.name, model.identity.architecture):
        measures: tuple[tuple[str, Callable[[], float | str], float, str], ...] = (
            ("deterministic", lambda: _repeated(probe), logits, "logits of the same batch twice (no dropout)"),
            ("bos", lambda: _leading_bos(model.encoder, texts), 1, "BOS tokens at the beginning of a prompt or a chat"),
            ("identity_edit", lambda: probe.edited(0.0), logits, "alpha 0: logits against clean"),
            ("edit_has_effect", lambda: probe.edited(1.0), logits, "alpha 1: they must differ"),
            ("embedding_in_z", lambda: _embedding_in_z(probe, embedding), 0, "z with alpha 1 against the embedding"),
            ("padding", probe.padding, logits, "logits of a left-padded row against the prompt alone"),
            ("pad_token", lambda: _pad_token(probe, texts), logits, "logits when padding is BOS, EOS or another token"),
            ("padded_tail", lambda: _padded_tail(probe), logits, "logits of a tail with padding behind it"),
            ("cached_equals_full", lambda: probe.cached(0.5, 1), logits, "cached against full logits under injection"),
            ("cached_tail", lambda: probe.cached(0.5, N_TAIL), logits, tail_too),
            ("gradient", lambda: probe.gradient(0.5, 1), gradients, "gradient of alpha, cached against full"),
            ("gradient_tail", lambda: probe.gradient(0.5, N_TAIL), gradients, tail_too),
            ("two_parts", lambda: _two_parts(probe), 0, "calls that concatenate keys and values of a cached prefix"),
            ("long_prompt", lambda: _long_prompt(probe, n_long), logits, f"cached against full, {n_long} tokens"),
            ("generation", lambda: _generation(probe, texts), 0, "prompts whose greedy text differs without a cache"),
        )
        add(same_as_transformers(model, (*COMPARED, longest)))
        for code, measure, threshold, meaning in measures:
            add(judge(code, measure(), threshold, meaning))
    return tuple(checks)


def _repeated(probe: Probe) -> float:
    return probe.gap(probe.model.forward(probe.batch), probe.clean)


def _leading_bos(encoder: Encoder, texts: Sequence[str]) -> float:
    bos = encoder.tokenizer.bos_token_id
    rows = encoder.encode(texts)
    with suppress(InputError):  # there is no chat template, or none for such a turn: then no chat is rendered with it
        rows += encoder.ids([chat_text(encoder, [("user", PROMPTS[0])], system=None, thinking=False)])
    return max(next((i for i, token in enumerate(row) if token != bos), len(row)) for row in rows)


def _embedding_in_z(probe: Probe, embedding: Float[Tensor, "1 layer head d_head"]) -> float:
    gaps = []

    def look(layer: int, z: Tensor) -> Tensor:
        target = embedding[:, layer, : z.shape[1]].to(z.device)
        gaps.append(float((z - target.to(getattr(torch, probe.model.identity.dtype)).float()).abs().max()))
        return z

    looks = z_edits(probe.model.grid.heads_per_layer, look)
    probe.model.forward(probe.batch, [*probe.edits(1.0), *looks])
    return max(gaps, default=math.inf)


def _pad_token(probe: Probe, texts: Sequence[str]) -> float:
    encoder = probe.model.encoder
    ids = encoder.encode(texts)
    tokens = {encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id, ids[0][-1]} - {None}
    known = [token for token in tokens if token < probe.clean.shape[1]]
    batches = [Batch.of(ids, pad=token, device=probe.model.device) for token in known]
    return max(probe.gap(probe.model.forward(batch), probe.clean) for batch in batches)


def _padded_tail(probe: Probe) -> float:
    prefix = probe.model.prefill(probe.batch.without_tail(1))
    logits, _ = probe.model.decode(prefix, probe.batch.tokens[:, -1:].repeat(1, 3))
    return probe.gap(logits[:, 0], probe.clean)


def _two_parts(probe: Probe) -> float | str:
    with watching_joins() as joins:
        probe.decode(probe.batch, 1)
    return f"attention concatenates keys and values ({', '.join(sorted(joins))}): exact, and slower" if joins else 0


@torch.no_grad()
def _long_prompt(probe: Probe, length: int) -> float | str:
    ids = probe.model.encoder.ids(["\n\n".join(PROMPTS)])[0]
    if length <= int(probe.batch.lengths.max()):
        return f"{length} tokens are no longer than the short prompts"
    batch = Batch.of([(ids * (length // len(ids) + 1))[:length]], pad=0, device=probe.model.device)
    return probe.gap(probe.decode(batch, N_TAIL), probe.model.forward(batch))


@torch.no_grad()
def _generation(probe: Probe, texts: Sequence[str]) -> float | str:
    model = probe.model
    if precision(model.identity) not in ("float32", "float64"):
        return f"greedy text in {precision(model.identity)} depends on the batch; check the model in float32"
    continued = generate(model, texts, probe.edits(0.5), max_new_tokens=N_GENERATED, stop_at="\0")
    n_different = 0
    for row, text in enumerate(continued):
        batch = probe.alone(row)
        new: list[int] = []
        for step in range(N_GENERATED):
            new.append(int(model.forward(batch, probe.edits(0.5, -1 - step)).argmax()))
            if new[-1] == model.encoder.eos:
                break
            batch = Batch(torch.cat([batch.tokens, batch.tokens.new_tensor([new[-1:]])], dim=1), batch.lengths + 1)
        n_different += text != model.encoder.decode(new)
    return n_different
