"""Learned content: the vectors that SITE's heads are replaced by, trained instead of averaged."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.injection import injection
from site_lens.methods.method import Method
from site_lens.methods.site_variants import site_top_k
from site_lens.methods.training import train
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.records.errors import NoHeadSetError
from site_lens.selectors.context import ComparisonContext


def learned_content(context: ComparisonContext, task: str) -> Method:
    """Replace the heads of `site_top_k` by trained vectors, which begin at the task embedding.

    Same heads, same place, other content: what it gains over `site_top_k` is how far the mean is from the best vectors
    that training finds. `config.content_steps` steps of Adam at multiples of `config.content_lr`, each on
    `config.content_batch` zero-shot queries of train, by cross-entropy of the first answer token; checkpoint and rate
    are chosen on valid, the mean itself among them. The notes say how like the mean the vectors are.

    After Lai et al., arXiv 2502.01179 (JoLA), which learns heads, gates and additive and multiplicative edits together,
    for every token; here the heads are those of SITE, nothing is left of their output, and the last prompt token alone
    is edited.

    Raises:
        NoHeadSetError: The alphas are all alike, or no head is open.
        FitError: The loss became nonfinite at every rate.
    """
    config, fit, start = context.config, context.fits()[task], site_top_k(context, task)
    if not start.n_heads:
        raise NoHeadSetError(f"{task}: the alphas add up to less than one head, so there is no head to learn for")
    device = context.model.device
    mask = torch.tensor(fit.gates.top(start.n_heads).mask(), device=device)
    mean = torch.tensor(fit.embedding.mean, device=device)
    learned = mean[mask].requires_grad_()

    def edits(model: LensModel) -> list[Edit]:
        return injection(
            mask[None].float(),
            torch.zeros_like(mean).index_put((mask,), learned)[None],
            torch.zeros(1, dtype=torch.long, device=device),
            heads_per_layer=model.grid.heads_per_layer,
            rule=fit.gates.mix,
        )

    method = Method(
        "learned_content",
        edits=edits,
        n_trained=start.n_trained + learned.numel(),
        stored_bytes=fit.gates.values.nbytes + learned.nbytes,
        n_heads=start.n_heads,
    )
    notes, rows = train(
        context, task, method, [learned], torch.optim.Adam, lr=config.content_lr, n_steps=config.content_steps,
        batch_size=config.content_batch, stream=context.stream(task, "learned content"),
    )  # fmt: skip
    learned.requires_grad_(False)
    n_labelled = len(rows | set(fit.labelled_rows)) + context.labelled("valid", task=task) + fit.n_labelled_elsewhere
    return replace(method, n_labelled=n_labelled, notes=(*start.notes, *notes, likeness(learned, mean[mask])))


def likeness(vectors: Float[Tensor, "chosen d_head"], mean: Float[Tensor, "chosen d_head"]) -> str:
    """Say how like the mean outputs of their heads some vectors are."""
    cosine = torch.cosine_similarity(vectors, mean, dim=-1).median()
    length = (vectors.norm(dim=-1) / mean.norm(dim=-1).clamp(min=1e-12)).median()
    return f"learned vectors: cosine with the head's mean output {cosine:.2f}, length {length:.2f} of its (medians)"
