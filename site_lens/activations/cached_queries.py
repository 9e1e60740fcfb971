"""Prompts whose prefixes are held, so that they can be asked again and again under other gates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from site_lens.activations.injection import injection
from site_lens.activations.prefill import (
    ROWS_PER_DECODE,
    bytes_per_token,
    length_batches,
    prefill_prompts,
)
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.activations.queries import Queries
from site_lens.heads.scores import MixRule
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.models.kv_cache import Prefix
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import ModelError
from site_lens.tasks.prompt_template import Prompt


@dataclass(frozen=True, slots=True)
class Answers:
    """What each variant answered to each prompt."""

    log_prob: Float[Tensor, "variant prompt"]
    """Log-probability of the target's first token, in nats."""
    right: Bool[Tensor, "variant prompt"]
    """Whether the most probable token begins an accepted answer."""


class CachedQueries:
    """Prompts of one task with their prefixes.

    A variant is a map of gates, and an embedding that they mix in at the last prompt token. Every variant asks every
    prompt; as nothing before the last token depends on the gates, a variant costs one token a prompt.

    Prefixes are held as long as this object lives where all of them fit into the budget; else they are computed in
    groups that do, anew each time the prompts are asked.

    Args:
        model: The model.
        prompts: The prompts.
        budget_bytes: Bytes of keys and values to hold, and as many again for copies for several variants at a time.
    """

    def __init__(self, model: LensModel, prompts: Sequence[Prompt], *, budget_bytes: int = PREFIX_BUDGET) -> None:
        check_sizes(budget_bytes=budget_bytes)
        self._model, self._budget = model, budget_bytes
        self.asked = Queries.of(model, prompts)
        most_tokens = int(budget_bytes / bytes_per_token(model, self.asked.ids))
        self._groups = [Group(model, self.asked, g) for g in length_batches(self.asked.lengths, max_tokens=most_tokens)]
        self._held = self._groups[0].prefix() if len(self._groups) == 1 else None

    def __len__(self) -> int:
        return len(self.asked)

    @torch.no_grad()
    def answers(
        self,
        alphas: Float[Tensor, "variant layer head"],
        embeddings: Float[Tensor, "embedding layer head d_head"],
        embedding_of: Int[Tensor, " variant"] | Int[Tensor, "variant prompt"] | None = None,
        *,
        rule: MixRule = "convex",
    ) -> Answers:
        """Ask every prompt under every variant.

        Args:
            alphas: Gates of each variant.
            embeddings: What variants mix in.
            embedding_of: Which embedding each variant mixes in, into every prompt or into each; the first when None.
            rule: How to mix.
        """
        device = self._model.device
        alphas, embeddings = alphas.to(device), embeddings.to(device)
        owners = torch.zeros(len(alphas), dtype=torch.long) if embedding_of is None else embedding_of
        owners = (owners[:, None] if owners.ndim == 1 else owners).expand(-1, len(self)).to(device)
        found = self._answers(len(alphas))
        for group, prefix in self._prefixes():
            n = len(group.places)
            at_once = max(1, min(ROWS_PER_DECODE // n, self._budget // max(prefix.n_bytes, 1)))
            tiled = _tiled(prefix, min(at_once, len(alphas)))
            for start in range(0, len(alphas), at_once):
                chunk, whose = alphas[start : start + at_once], owners[start : start + at_once, group.places]
                edits = injection(
                    chunk.repeat_interleave(n, 0),
                    embeddings,
                    whose.flatten(),
                    heads_per_layer=self._model.grid.heads_per_layer,
                    rule=rule,
                )
                rows = tiled if len(tiled.lengths) == len(chunk) * n else _tiled(prefix, len(chunk))
                group.judge(group.decode(rows, edits), found, start)
        return found

    @torch.no_grad()
    def under(self, edits: Sequence[Edit]) -> Answers:
        """Ask every prompt under some edits of its last token, the same for all; one variant."""
        found = self._answers(1)
        for group, prefix in self._prefixes():
            group.judge(group.decode(prefix, edits), found, 0)
        return found

    def gradients(
        self, metric: Callable[[Float[Tensor, " prompt"]], Float[Tensor, " prompt"]]
    ) -> tuple[Float[Tensor, "prompt layer head d_head"], Float[Tensor, "prompt layer head d_head"]]:
        """Return z at the last prompt token, and the gradient there of each prompt's metric.

        Args:
            metric: Turns log-probabilities of the targets into what is differentiated.
        """
        z = torch.zeros(len(self), *self._model.grid.shape, self._model.identity.d_head, device=self._model.device)
        gradient = torch.zeros_like(z)
        for group, prefix in self._prefixes():
            z[group.places], gradient[group.places] = group.gradients(prefix, metric)
        return z, gradient

    def _answers(self, n_variants: int) -> Answers:
        """Make room for what variants answer."""
        nothing = torch.zeros(n_variants, len(self), device=self._model.device)
        return Answers(nothing, nothing.bool())

    def _prefixes(self) -> Iterator[tuple["Group", Prefix]]:
        return ((group, group.prefix() if self._held is None else self._held) for group in self._groups)


class Group:
    """Some of the prompts, whose prefixes are in memory together."""

    def __init__(self, model: LensModel, asked: Queries, places: Sequence[int]) -> None:
        self._model, self.places, self._asked = model, list(places), asked.only(places)
        self._tail, self._targets = self._asked.tail(model.device), self._asked.targets(model.device)

    def prefix(self) -> Prefix:
        """Compute the prefixes, in order."""
        prefix, row_of = prefill_prompts(self._model, self._asked.ids)
        return prefix.rows(torch.tensor(row_of, device=self._model.device))

    def decode(self, prefix: Prefix, edits: Sequence[Edit]) -> Float[Tensor, "row vocab"]:
        """Run the last token of every prompt, as often as the prefix repeats them."""
        times = len(prefix.lengths) // len(self.places)
        return self._model.decode(prefix, self._tail.repeat(times, 1), edits)[0][:, -1]

    def judge(self, logits: Float[Tensor, "row vocab"], into: Answers, first: int) -> None:
        """Write what the variants from `first` on answered to these prompts."""
        n = len(logits) // len(self.places)
        targets = self._targets.repeat(n)[:, None]
        log_prob = logits.log_softmax(-1).gather(1, targets)[:, 0].view(n, -1)
        if log_prob.isnan().any():
            text = self._model.encoder.decode(self._asked.ids[int(log_prob.isnan().any(0).nonzero()[0])])
            raise ModelError(
                f"{self._model.identity.name} gives logits that are not finite in {self._model.identity.dtype} for the "
                f"prompt that ends in {text[-40:]!r}; use dtype='float32' or 'bfloat16', or leave its row out"
            )
        into.log_prob[first : first + n, self.places] = log_prob
        into.right[first : first + n, self.places] = self._asked.right(logits.view(n, len(self.places), -1))

    def gradients(
        self, prefix: Prefix, metric: Callable[[Float[Tensor, " prompt"]], Float[Tensor, " prompt"]]
    ) -> tuple[Float[Tensor, "prompt layer head d_head"], Float[Tensor, "prompt layer head d_head"]]:
        """Return z at the last token, and the gradient there of each prompt's metric."""
        grid, d_head = self._model.grid, self._model.identity.d_head
        shift = torch.zeros(len(self.places), *grid.shape, d_head, device=self._model.device, requires_grad=True)
        seen = torch.zeros_like(shift, requires_grad=False)

        def shifting(layer: int, n_heads: int) -> Callable[[Tensor], Tensor]:
            def change(z: Tensor) -> Tensor:
                seen[:, layer, :n_heads] = z.detach().to(seen.device)
                return z + shift[:, layer, :n_heads].to(z.device)

            return change

        edits = [Edit(layer, shifting(layer, n)) for layer, n in enumerate(grid.heads_per_layer) if n]
        with torch.enable_grad():
            log_prob = self.decode(prefix, edits).log_softmax(-1).gather(1, self._targets[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(metric(log_prob).sum(), shift)
        return seen, gradient


def _tiled(prefix: Prefix, times: int) -> Prefix:
    rows = torch.arange(len(prefix.lengths), device=prefix.lengths.device)
    return prefix if times == 1 else prefix.rows(rows.repeat(times))
