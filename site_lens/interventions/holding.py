"""Prompts whose prefixes are held, so that they can be asked again and again under other gates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from site_lens.core.fits import MixRule
from site_lens.core.prompts import Prompt
from site_lens.interventions.asking import Asked
from site_lens.interventions.patching import injection
from site_lens.interventions.prefixes import PREFIX_BUDGET, ROWS_PER_DECODE, prefill_prompts
from site_lens.models.protocol import Edit, LensModel, Prefix


@dataclass(frozen=True, slots=True)
class Answers:
    """What each variant answered to each prompt."""

    log_prob: Float[Tensor, "variant prompt"]
    """Log-probability of the target's first token, in nats."""
    right: Bool[Tensor, "variant prompt"]
    """Whether the most probable token begins an accepted answer."""


class HeldPrompts:
    """Prompts of one task with their prefixes.

    A variant is a map of gates, and an embedding that they mix in at the last prompt token. Every variant asks every
    prompt; as nothing before the last token depends on the gates, a variant costs one token a prompt.

    Args:
        model: The model.
        prompts: The prompts; their keys and values stay in memory as long as this object lives.
        budget_bytes: Bytes of keys and values to hold besides, as copies for several variants at a time.
    """

    def __init__(self, model: LensModel, prompts: Sequence[Prompt], *, budget_bytes: int = PREFIX_BUDGET) -> None:
        self._model = model
        self.asked = Asked.of(model, prompts)
        prefix, row_of = prefill_prompts(model, self.asked.ids)
        self._prefix = prefix.rows(torch.tensor(row_of, device=model.device))
        self._tail = self.asked.tail(model.device)
        self._targets = self.asked.targets(model.device)
        rows = min(ROWS_PER_DECODE // len(self), budget_bytes // max(self._prefix.n_bytes, 1))
        self._variants_at_once = max(1, rows)

    def __len__(self) -> int:
        return len(self.asked)

    @torch.no_grad()
    def answers(
        self,
        alphas: Float[Tensor, "variant layer head"],
        embeddings: Float[Tensor, "embedding layer head d_head"],
        embedding_of: Int[Tensor, " variant"] | None = None,
        *,
        rule: MixRule = "convex",
    ) -> Answers:
        """Ask every prompt under every variant.

        Args:
            alphas: Gates of each variant.
            embeddings: What variants mix in.
            embedding_of: Which embedding each variant mixes in; the first for all when None.
            rule: How to mix.
        """
        n, device = len(self), self._model.device
        at_once = self._variants_at_once
        alphas, embeddings = alphas.to(device), embeddings.to(device)
        owners = torch.zeros(len(alphas), dtype=torch.long) if embedding_of is None else embedding_of
        tiled = self._tiled(min(at_once, len(alphas)))
        parts = []
        for chunk, whose in zip(torch.split(alphas, at_once), torch.split(owners.to(device), at_once), strict=True):
            prefix = tiled if len(tiled.lengths) == len(chunk) * n else self._tiled(len(chunk))
            edits = injection(
                chunk.repeat_interleave(n, 0),
                embeddings,
                whose.repeat_interleave(n),
                heads_per_layer=self._model.grid.heads_per_layer,
                rule=rule,
                column=0,
            )
            parts.append(self._judge(self._decode(prefix, len(chunk), edits), len(chunk)))
        return Answers(torch.cat([part.log_prob for part in parts]), torch.cat([part.right for part in parts]))

    @torch.no_grad()
    def under(self, edits: Sequence[Edit]) -> Answers:
        """Ask every prompt under some edits of its last token; one variant."""
        return self._judge(self._decode(self._prefix, 1, edits), 1)

    def gradients(
        self, metric: Callable[[Float[Tensor, " prompt"]], Float[Tensor, " prompt"]]
    ) -> tuple[Float[Tensor, "prompt layer head d_head"], Float[Tensor, "prompt layer head d_head"]]:
        """Return z at the last prompt token, and the gradient there of each prompt's metric.

        Args:
            metric: Turns log-probabilities of the targets into what is differentiated.
        """
        grid, d_head = self._model.grid, self._model.identity.d_head
        shift = torch.zeros(len(self), *grid.shape, d_head, device=self._model.device, requires_grad=True)
        seen = torch.zeros_like(shift, requires_grad=False)

        def shifting(layer: int, n_heads: int) -> Callable[[Tensor], Tensor]:
            def change(z: Tensor) -> Tensor:
                seen[:, layer, :n_heads] = z.detach().to(seen.device)
                return z + shift[:, layer, :n_heads].to(z.device)

            return change

        edits = [Edit(layer, shifting(layer, n), 0) for layer, n in enumerate(grid.heads_per_layer) if n]
        with torch.enable_grad():
            logits = self._decode(self._prefix, 1, edits)
            log_prob = logits.log_softmax(-1).gather(1, self._targets[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(metric(log_prob).sum(), shift)
        return seen, gradient

    def _tiled(self, times: int) -> Prefix:
        return self._prefix.rows(torch.arange(len(self), device=self._model.device).repeat(times))

    def _decode(self, prefix: Prefix, n_variants: int, edits: Sequence[Edit]) -> Float[Tensor, "row vocab"]:
        return self._model.decode(prefix, self._tail.repeat(n_variants, 1), edits)[0][:, -1]

    def _judge(self, logits: Float[Tensor, "row vocab"], n_variants: int) -> Answers:
        targets = self._targets.repeat(n_variants)[:, None]
        log_prob = logits.log_softmax(-1).gather(1, targets)[:, 0].view(n_variants, len(self))
        best = logits.argmax(-1).view(n_variants, len(self)).tolist()
        right = [[token in ok for token, ok in zip(row, self.asked.accepted, strict=True)] for row in best]
        return Answers(log_prob, torch.tensor(right, device=logits.device))
