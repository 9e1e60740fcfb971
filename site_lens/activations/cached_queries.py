"""Queries with a cached KV prefix, re-evaluated under different gates."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from site_lens.activations.injection import injection
from site_lens.activations.prefill import (
    Indices,
    PrefixPool,
    bytes_per_token,
    in_halves,
    length_batches,
    ordered_prefixes,
    rows_per_decode,
)
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.activations.queries import Queries, nonfinite_logits
from site_lens.heads.scores import MixRule
from site_lens.models.backward_rules import BackwardRules, backward_rules
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit, z_edits
from site_lens.models.kv_cache import Prefix
from site_lens.records.bounds import check_sizes
from site_lens.tasks.prompt_template import Prompt

Gradients = tuple[Float[Tensor, "prompt layer head d_head"], Float[Tensor, "prompt layer head d_head"]]
"""z at the last prompt token, and a gradient there."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of each variant to each prompt."""

    log_prob: Float[Tensor, "variant prompt"]
    """Log-probability of the target's first token, in nats."""
    right: Bool[Tensor, "variant prompt"]
    """Whether the most probable token begins an accepted answer."""


class CachedQueries:
    """Prompts of one task with their cached prefixes.

    A variant is a map of gates, and an embedding that they mix in at the last prompt token. Every variant answers every
    prompt; as nothing before the last token depends on the gates, a variant costs one token a prompt.

    Prefixes are cached as long as this object lives where all of them fit into the budget, and taken from the
    `PrefixPool` of the call; else they are computed in groups that do, anew each time the prompts are answered.

    Args:
        model: The model.
        prompts: The prompts.
        budget_bytes: Bytes of cached keys and values, which variants share; as many again where attention concatenates
            them.
    """

    def __init__(self, model: LensModel, prompts: Sequence[Prompt], *, budget_bytes: int = PREFIX_BUDGET) -> None:
        check_sizes(budget_bytes=budget_bytes)
        self._model, self._budget = model, budget_bytes
        self.queries = Queries.of(model, prompts)
        max_tokens = int(budget_bytes / bytes_per_token(model, self.queries.ids))
        self._groups = list(length_batches(self.queries.lengths, max_tokens=max_tokens))
        self._cached: Prefix | None = None
        if len(self._groups) == 1:
            pool, ids = PrefixPool.of(model), self.queries.only(self._groups[0]).ids
            pool.hold(ids, max_tokens)
            prefix, rows = pool.rows(ids)
            self._cached = prefix.rows(rows)

    def __len__(self) -> int:
        return len(self.queries)

    @torch.no_grad()
    def answers(
        self,
        alphas: Float[Tensor, "variant layer head"],
        embeddings: Float[Tensor, "embedding layer head d_head"],
        embedding_of: Int[Tensor, " variant"] | Int[Tensor, "variant prompt"] | None = None,
        *,
        rule: MixRule = "convex",
    ) -> Answers:
        """Answer every prompt under every variant.

        Args:
            alphas: Gates of each variant.
            embeddings: Embeddings that variants mix in.
            embedding_of: Which embedding each variant mixes in, into every prompt or into each; the first when None.
            rule: How to mix.
        """
        device = self._model.device
        alphas, embeddings = alphas.to(device), embeddings.to(device)
        owners = torch.zeros(len(alphas), dtype=torch.long) if embedding_of is None else embedding_of
        owners = (owners[:, None] if owners.ndim == 1 else owners).expand(-1, len(self)).to(device)
        answers = self._no_answers(len(alphas))
        for group, prefix in self._prefixes():
            at_once = max(1, min(rows_per_decode(self._model) // len(group), self._budget // max(prefix.n_bytes, 1)))

            def answer(variants: Indices, group: list[int] = group, prefix: Prefix = prefix) -> None:
                chosen = torch.tensor(variants, device=device)
                edits = injection(
                    alphas[chosen].repeat_interleave(len(group), 0),
                    embeddings,
                    owners[chosen][:, group].flatten(),
                    heads_per_layer=self._model.grid.heads_per_layer,
                    rule=rule,
                )
                logits = self._decode(group, prefix.repeated(len(variants)), edits)
                self._judge(group, logits, answers, int(variants[0]))

            for start in range(0, len(alphas), at_once):
                in_halves(np.arange(start, min(start + at_once, len(alphas))), answer)
        return answers

    @torch.no_grad()
    def under(self, edits: Sequence[Edit]) -> Answers:
        """Answer every prompt under some edits of its last token, the same for all; one variant."""
        answers = self._no_answers(1)
        for group, prefix in self._prefixes():
            self._judge(group, self._decode(group, prefix, edits), answers, 0)
        return answers

    def gradients(
        self,
        metric: Callable[[Float[Tensor, " prompt"]], Float[Tensor, " prompt"]],
        rules: BackwardRules | None = None,
    ) -> Gradients:
        """Return z at the last prompt token, and the gradient there of each prompt's metric.

        Args:
            metric: Turns log-probabilities of the targets into the numbers to differentiate.
            rules: What stands in the place of the gradient inside the model; the gradient itself when None.

        Raises:
            ModelError: The model does not show what the rules need; see `backward_rules`.
        """
        grid, shape = self._model.grid, (*self._model.grid.shape, self._model.identity.d_head)
        z, gradient = (torch.zeros(len(self), *shape, device=self._model.device) for _ in range(2))
        for group, prefix in self._prefixes():
            shift = torch.zeros(len(group), *shape, device=self._model.device, requires_grad=True)

            def shifting(layer: int, old: Tensor, group: list[int] = group, shift: Tensor = shift) -> Tensor:
                n_heads = old.shape[1]
                z[group, layer, :n_heads] = old.detach().to(z.device)
                return old + shift[:, layer, :n_heads].to(old.device)

            edits = z_edits(grid.heads_per_layer, shifting)
            with torch.enable_grad(), backward_rules(self._model, rules) if rules else nullcontext():
                log_prob = self._log_prob(group, self._decode(group, prefix, edits))
                (gradient[group],) = torch.autograd.grad(metric(log_prob[0]).sum(), shift)
        return z, gradient

    def _no_answers(self, n_variants: int) -> Answers:
        nothing = torch.zeros(n_variants, len(self), device=self._model.device)
        return Answers(nothing, nothing.bool())

    def _prefixes(self) -> Iterator[tuple[list[int], Prefix]]:
        """Yield the prompts whose prefixes are in memory together, and these prefixes, in order."""
        for group in self._groups:
            yield group, self._cached or ordered_prefixes(self._model, self.queries.only(group).ids)

    def _decode(self, group: Sequence[int], prefix: Prefix, edits: Sequence[Edit]) -> Float[Tensor, "row vocab"]:
        """Run the last token of every prompt, as often as the prefix repeats them."""
        tail = self.queries.only(group).tail(self._model.device)
        return self._model.decode(prefix, tail.repeat(len(prefix.lengths) // len(group), 1), edits)[0][:, -1]

    def _log_prob(self, group: list[int], logits: Float[Tensor, "row vocab"]) -> Float[Tensor, "variant prompt"]:
        """Return the log-probabilities of the targets of a group of prompts, which variants repeat."""
        targets = self.queries.only(group).targets(self._model.device).repeat(len(logits) // len(group))
        return -F.cross_entropy(logits, targets, reduction="none").view(-1, len(group))

    def _judge(self, group: list[int], logits: Float[Tensor, "row vocab"], answers: Answers, first: int) -> None:
        """Write the answers of the variants from `first` on to a group of prompts."""
        log_prob = self._log_prob(group, logits)
        if log_prob.isnan().any():
            place = group[int(log_prob.isnan().any(0).nonzero()[0])]
            raise nonfinite_logits(self._model, self.queries.ids[place])
        variants = slice(first, first + len(log_prob))
        answers.log_prob[variants, group] = log_prob
        answers.right[variants, group] = self.queries.only(group).right(logits.view(*log_prob.shape, -1))
