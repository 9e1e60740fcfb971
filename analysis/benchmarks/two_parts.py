"""Row 10: one step of alpha with keys and values in two parts, against the same step with concatenated ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from analysis.benchmarks.measuring import Result, compare, interleaved, peak_bytes
from analysis.benchmarks.settings import Settings
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.kv_cache import Prefix

SHAPES = ((57, 16, 1.25), (57, 64, 2.0), (400, 8, 2.0))
"""Tokens of a prompt, rows of a batch, and the ratio that is good."""


class Concatenated(Prefix):
    """A prefix whose keys and values are concatenated with those of new tokens."""

    def two_part_view(self, times: int = 1) -> object:
        """Return a cache of plain tensors."""
        return self.view()


def step(model: LensModel, batch: Batch, prefix: Prefix) -> Callable[[], Tensor]:
    """Return the gradient of alpha, one map a row, of the first logit behind a prefix."""
    shape = (1, *model.grid.shape, model.identity.d_head)
    embedding = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    rows = torch.zeros(len(batch), dtype=torch.long, device=model.device)

    @torch.enable_grad()
    def take() -> Tensor:
        alpha = torch.full((len(batch), *model.grid.shape), 0.5, device=model.device, requires_grad=True)
        edits = injection(alpha, embedding, rows, heads_per_layer=model.grid.heads_per_layer, column=0)
        logits, _ = model.decode(prefix, batch.tokens[:, -1:], edits)
        gradient: Tensor = torch.autograd.grad(logits.log_softmax(-1)[..., 0].sum(), alpha)[0]
        return gradient

    return take


def measure(settings: Settings) -> list[Result]:
    """Compare time and memory of a step, prefixes computed before."""
    task, model, _ = settings.subjects
    ids = model.encoder.encode([" ".join(row.input for row in task.train[:25])])[0]
    results = []
    for n_tokens, n_rows, target in SHAPES:
        prompts = [ids[row : row + n_tokens] for row in range(n_rows)]
        batch = Batch.of(prompts, pad=model.encoder.pad, device=model.device)
        prefix = model.prefill(batch.without_tail(1))
        concatenated = Concatenated(prefix.view(), prefix.lengths, prefix.width)
        sides = [step(model, batch, each) for each in (concatenated, prefix)]
        gradients = [side() for side in sides]
        assert (gradients[0] - gradients[1]).abs().max() < 1e-4 * gradients[0].abs().max()
        rival, ours = interleaved(*sides, n=settings.pairs)
        what = f"{settings.size} Llama, {n_tokens} tokens x {n_rows} rows"
        results.append(compare(10, f"one step, keys concatenated / in two parts, {what}", "s", rival, ours, target))
        rival, ours = ([peak_bytes(side, model.device) / 2**20] for side in sides)
        results.append(compare(10, f"peak extra memory of that step, {what}", "MiB", rival, ours))
    return results
