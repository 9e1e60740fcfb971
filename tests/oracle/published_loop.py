"""The published method restated as plainly as possible, to be read beside the paper. Slow on purpose.

One task, batch 1, the whole sequence forward and backward at each step, `run_with_hooks`, no cache, no batching.
Nothing of site_lens is used.

Reference: arXiv 2507.20906; Soft_Injection `utils.py`, `optimize_head_selection`.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def z_names(bridge: Any) -> list[str]:
    return [f"blocks.{layer}.attn.hook_z" for layer in range(bridge.cfg.n_layers)]


@torch.no_grad()
def task_embedding(bridge: Any, prompts: list[list[int]]) -> Tensor:
    """Mean z at the last token, (layer head d_head), one prompt at a time."""
    total: Any = 0
    for prompt in prompts:
        _, cache = bridge.run_with_cache(torch.tensor([prompt]), names_filter=z_names(bridge))
        total = total + torch.stack([cache[name][0, -1] for name in z_names(bridge)])
    mean: Tensor = total / len(prompts)
    return mean


def injected_logits(bridge: Any, prompt: list[int], alpha: Tensor, embedding: Tensor) -> Tensor:
    """Logits at the last token, z replaced by (1 - alpha) z + alpha t at that token in every layer."""

    def replace(z: Tensor, hook: Any, layer: int) -> Tensor:
        a = alpha[layer][:, None]
        changed = z.clone()
        changed[:, -1] = (1 - a) * z[:, -1] + a * embedding[layer]
        return changed

    hooks = [(name, partial(replace, layer=layer)) for layer, name in enumerate(z_names(bridge))]
    logits: Tensor = bridge.run_with_hooks(torch.tensor([prompt]), fwd_hooks=hooks)[0, -1]
    return logits


def fit(bridge: Any, queries: list[tuple[list[int], int]], embedding: Tensor, *, lr: float = 0.2) -> Tensor:
    """Alpha (layer head) after one Adam step on each (prompt, first answer token), in order."""
    raw = torch.zeros(embedding.shape[:2], requires_grad=True)
    adam = torch.optim.Adam([raw], lr=lr)
    for prompt, answer in queries:
        logits = injected_logits(bridge, prompt, torch.sigmoid(raw), embedding)
        loss = F.cross_entropy(logits[None], torch.tensor([answer]))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return torch.sigmoid(raw).detach()
