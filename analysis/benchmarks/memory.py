"""Row 6: memory of one optimisation step over long prompts, against the full pass."""

import torch
import torch.nn.functional as F

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, peak_bytes
from analysis.benchmarks.published import hugging_face
from analysis.benchmarks.settings import Settings
from site_lens.activations.injection import injection
from site_lens.models.batch import Batch

N_ROWS, N_TOKENS = 4, 512


def measure(settings: Settings) -> list[Result]:
    """Compare the most memory held at one time, the prefix and its computation counted."""
    task, model, plain = settings.subjects
    ids = model.encoder.encode([" ".join(row.input for row in task.train[:25])])[0][:N_TOKENS]
    if len(ids) < N_TOKENS:
        raise sl.InputError(f"25 texts of {task.name} make {len(ids)} tokens; {N_TOKENS} are needed")
    batch = Batch.of([ids] * N_ROWS, pad=model.encoder.pad, device=model.device)
    embedding = torch.randn(1, *model.grid.shape, model.identity.d_head, device=model.device)
    targets = torch.full((N_ROWS,), ids[0], device=model.device)
    logits_of = hugging_face(plain)

    def full() -> None:
        alpha = torch.full(model.grid.shape, 0.5, device=model.device, requires_grad=True)
        logits = logits_of(batch.tokens, alpha[None], embedding)
        torch.autograd.backward(F.cross_entropy(logits, targets))

    def cached() -> None:
        alpha = torch.full(model.grid.shape, 0.5, device=model.device, requires_grad=True)
        rows = torch.zeros(1, dtype=torch.long, device=model.device)
        edits = injection(alpha[None], embedding, rows, heads_per_layer=model.grid.heads_per_layer, column=0)
        logits, _ = model.decode(model.prefill(batch.without_tail(1)), batch.tokens[:, -1:], edits)
        torch.autograd.backward(F.cross_entropy(logits[:, 0], targets))

    pairs = [(peak_bytes(full, model.device), peak_bytes(cached, model.device)) for _ in range(settings.pairs)]
    rival, ours = ([size / 2**20 for size in sizes] for sizes in zip(*pairs, strict=True))
    what = f"peak extra memory of a step, {settings.size} Llama, {N_ROWS} prompts of {N_TOKENS} tokens"
    return [compare(6, what, "MiB", rival, ours, 10.0)]
