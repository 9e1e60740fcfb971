"""Learned content: the vectors that SITE's heads are replaced by, trained instead of averaged."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.injection import injection
from site_lens.activations.queries import Queries
from site_lens.heads.scores import MixRule
from site_lens.methods.i2cl import first_token_losses
from site_lens.methods.method import Method
from site_lens.methods.site_variants import site_top_k
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.records.errors import NoHeadSetError
from site_lens.records.hashing import seed_stream
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.tasks.prompt_sampling import zero_shot_prompts


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
    training = _Training(context, task, fit.gates.top(start.n_heads).mask(), fit.embedding.mean, fit.gates.mix)
    runs = {lr: training.run(lr) for lr in config.rates(config.content_lr)}
    chosen = choose_checkpoint(f"learned_content of {task!r}", runs, n_steps=config.content_steps)
    learned, n_valid = chosen.state, context.labelled("valid", task=task)
    return Method(
        "learned_content",
        edits=lambda model: training.edits(model, learned),
        n_labelled=len(set(fit.labelled_rows) | training.rows) + n_valid + fit.n_labelled_elsewhere,
        n_trained=start.n_trained + learned.numel(),
        stored_bytes=fit.gates.values.nbytes + learned.numel() * learned.element_size(),
        n_heads=start.n_heads,
        notes=(*start.notes, *chosen.notes, training.likeness(learned)),
    )


class _Training:
    """Adam on the content of some heads, run anew for each learning rate from the mean and on the same draws."""

    def __init__(self, context: ComparisonContext, task: str, mask: np.ndarray, mean: np.ndarray, mix: MixRule) -> None:
        config, train, device = context.config, context.tasks[task].train, context.model.device
        stream = seed_stream(config.seed, context.tasks[task].digest, "learned content")
        drawn = stream.integers(len(train), size=(config.content_steps, config.content_batch))
        used, places = np.unique(drawn, return_inverse=True)
        self._context, self._places, self._mix = context, places.reshape(drawn.shape), mix
        self._mask, self._mean = torch.tensor(mask, device=device), torch.tensor(mean, device=device)
        self._asked = Queries.of(context.model, zero_shot_prompts([train[i] for i in used], config.template))
        self._checked = valid_questions(context, task)
        self.rows = frozenset(used.tolist())
        """Rows of train that any step asks."""

    def run(self, lr: float) -> Iterator[Checkpoint[Float[Tensor, "chosen d_head"]]]:
        """Train at one learning rate, and yield the vectors at every evaluation."""
        config, n_steps = self._context.config, len(self._places)
        vectors = self._mean[self._mask].clone().requires_grad_()
        adam = torch.optim.Adam([vectors], lr=lr)
        for step in range(n_steps + 1):
            if config.evaluates_at(step, n_steps):
                state = vectors.detach().clone()
                method = Method("learned_content", edits=partial(self.edits, vectors=state))
                (loss,) = valid_losses(self._context, self._checked, [method])
                yield Checkpoint(step, loss, state)
            if step < n_steps:
                with torch.enable_grad():
                    edits = self.edits(self._context.model, vectors)
                    drawn = self._asked.only(self._places[step].tolist())
                    loss_of_step = first_token_losses(self._context.model, drawn, edits).mean()
                    (vectors.grad,) = torch.autograd.grad(loss_of_step, vectors)
                adam.step()

    def edits(self, model: LensModel, vectors: Float[Tensor, "chosen d_head"]) -> list[Edit]:
        """Build the edits that put vectors in the place of the chosen heads' outputs."""
        content = torch.zeros_like(self._mean).index_put((self._mask,), vectors)
        return injection(
            self._mask[None].float(),
            content[None],
            torch.zeros(1, dtype=torch.long, device=model.device),
            heads_per_layer=model.grid.heads_per_layer,
            rule=self._mix,
        )

    def likeness(self, vectors: Float[Tensor, "chosen d_head"]) -> str:
        """Say how like the mean outputs of their heads some vectors are."""
        mean = self._mean[self._mask]
        cosine = torch.cosine_similarity(vectors, mean, dim=-1).median()
        length = (vectors.norm(dim=-1) / mean.norm(dim=-1).clamp(min=1e-12)).median()
        return f"learned vectors: cosine with the head's mean output {cosine:.2f}, length {length:.2f} of its (medians)"
