"""The rival: the published loop, one task at a time, batch 1, whole sequences forward and backward at each step.

Written twice, on plain Hugging Face with a hook before `o_proj` and on TransformerLens' `run_with_hooks`; the faster of
the two counts. Only the last position's logits are computed, weights are frozen, and nothing is checked for anomalies.

Reference: arXiv 2507.20906; Soft_Injection `utils.py`, `optimize_head_selection`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import embedding_prompts, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate

Query = tuple[list[int], int]
"""Tokens of a prompt, and the first token of its answer."""

LogitsOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes tokens (row pos), alphas (row layer head) and embeddings (row layer head d_head); gives logits (row vocab)."""


def mixed(z: Tensor, alpha: Tensor, embedding: Tensor) -> Tensor:
    """Replace the last position of z (row pos head d_head) by the mix of eq. 4."""
    a = alpha[..., None].to(z.dtype)
    last = (1 - a) * z[:, -1] + a * embedding.to(z.dtype)
    return torch.cat([z[:, :-1], last[:, None]], dim=1)


def hugging_face(model: Any) -> LogitsOf:
    """Inject by a hook before the output projection of every layer of a plain Llama."""

    def before(module: Any, inputs: tuple[Tensor, ...], alpha: Tensor, embedding: Tensor) -> tuple[Tensor]:
        z = inputs[0].reshape(*inputs[0].shape[:-1], *embedding.shape[-2:])
        return (mixed(z, alpha, embedding).flatten(-2),)

    def logits_of(tokens: Tensor, alphas: Tensor, embeddings: Tensor) -> Tensor:
        hooks = [
            layer.self_attn.o_proj.register_forward_pre_hook(
                partial(before, alpha=alphas[:, i], embedding=embeddings[:, i])
            )
            for i, layer in enumerate(model.model.layers)
        ]
        try:
            logits: Tensor = model(tokens, use_cache=False, logits_to_keep=1).logits
            return logits[:, -1].float()
        finally:
            for hook in hooks:
                hook.remove()

    return logits_of


def transformer_lens(bridge: Any) -> LogitsOf:
    """Inject by `run_with_hooks`."""

    def logits_of(tokens: Tensor, alphas: Tensor, embeddings: Tensor) -> Tensor:
        hooks = [
            (f"blocks.{i}.attn.hook_z", lambda z, hook, i=i: mixed(z, alphas[:, i], embeddings[:, i]))
            for i in range(bridge.cfg.n_layers)
        ]
        logits: Tensor = bridge.run_with_hooks(tokens, fwd_hooks=hooks, use_cache=False, logits_to_keep=1)
        return logits[:, -1].float()

    return logits_of


class PublishedLoop:
    """The optimisation of one task's alphas, step by step.

    Args:
        logits_of: How to run the model.
        embedding: (layer head d_head).
        lr: Learning rate of Adam.
    """

    def __init__(self, logits_of: LogitsOf, embedding: Tensor, *, lr: float = 0.2) -> None:
        self.logits_of, self.embedding = logits_of, embedding[None]
        self.raw = torch.zeros(embedding.shape[:2], device=embedding.device, requires_grad=True)
        self.adam = torch.optim.Adam([self.raw], lr=lr)

    def alpha(self) -> Tensor:
        """(layer head)."""
        return torch.sigmoid(self.raw)

    def loss(self, query: Query) -> Tensor:
        """Cross-entropy of the first answer token."""
        prompt, answer = query
        device = self.embedding.device
        logits = self.logits_of(torch.tensor([prompt], device=device), self.alpha()[None], self.embedding)
        return F.cross_entropy(logits, torch.tensor([answer], device=device))

    def step(self, query: Query) -> None:
        """Take one step."""
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(self.loss(query))
        self.adam.step()

    def fit(self, train: Sequence[Query], valid: Sequence[Query], *, eval_every: int = 50) -> Tensor:
        """Take a step on each query of train and validate now and then; return the alphas of the last validation."""
        kept = self.alpha().detach()
        for i, query in enumerate(train):
            self.step(query)
            if (i + 1) % eval_every == 0:
                with torch.no_grad():
                    sum(float(self.loss(one)) for one in valid)
                kept = self.alpha().detach()
        return kept


@torch.no_grad()
def mean_z(plain: Any, prompts: Sequence[Sequence[int]], model: LensModel) -> Tensor:
    """Mean input of every output projection at the last token, prompt by prompt, (layer head d_head)."""
    found: dict[int, Tensor] = {}
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda m, inputs, i=i: found.update({i: inputs[0][0, -1]}))
        for i, layer in enumerate(plain.model.layers)
    ]
    total = torch.zeros(*model.grid.shape, model.identity.d_head, device=model.device)
    try:
        for row in prompts:
            plain(torch.tensor([row], device=model.device), use_cache=False, logits_to_keep=1)
            total += torch.stack([found[i] for i in range(model.grid.n_layers)]).view_as(total).float()
    finally:
        for hook in hooks:
            hook.remove()
    return total / len(prompts)


def published_embedding(plain: Any, model: LensModel, task: sl.Task, *, n_prompts: int, n_shots: int) -> Tensor:
    """The task embedding of the prompts that site_lens draws, too, one prompt at a time."""
    stream = seed_stream(0, task.digest, "embedding", n_shots)
    drawn = embedding_prompts(task, PromptTemplate(), n_prompts=n_prompts, n_shots=n_shots, stream=stream)
    return mean_z(plain, model.encoder.encode([prompt.text for prompt in drawn.prompts]), model)


def asked(model: LensModel, rows: Sequence[sl.Example]) -> list[Query]:
    """Zero-shot prompts of some rows, and the first tokens of their answers."""
    prompts = zero_shot_prompts(rows, PromptTemplate())
    texts, answers = [prompt.text for prompt in prompts], [prompt.answer for prompt in prompts]
    ids, tokens, _ = model.encoder.encode_answers(texts, answers)
    return [(row, answer[0]) for row, answer in zip(ids, tokens, strict=True)]
