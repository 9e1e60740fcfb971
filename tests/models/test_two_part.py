"""Two parts of keys and values: they give what concatenated ones give, and say where they had to be concatenated."""

from collections.abc import Callable

import pytest
import torch
from einops import rearrange
from torch import Tensor
from transformers.models.llama.modeling_llama import repeat_kv

from site_lens.models.two_part import TwoPart, watching_joins

HEADS, WIDTH, D_HEAD = 2, 7, 4


def tensors(n_prefixes: int, times: int, groups: int, n_new: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a frozen prefix, new keys, and queries, the last two with gradient."""
    random = torch.Generator().manual_seed(n_prefixes + 10 * times + 100 * groups + 1000 * n_new)
    rows = n_prefixes * times
    frozen, new, queries = (
        torch.randn(shape, generator=random)
        for shape in (
            (n_prefixes, HEADS, WIDTH, D_HEAD),
            (rows, HEADS, n_new, D_HEAD),
            (rows, HEADS * groups, n_new, D_HEAD),
        )
    )
    return frozen, new.requires_grad_(), queries.requires_grad_()


def like_llama(past: Tensor, new: Tensor, queries: Tensor) -> Tensor:
    keys = repeat_kv(torch.cat([past, new], dim=-2), queries.shape[1] // new.shape[1])
    return torch.matmul(torch.matmul(queries, keys.transpose(2, 3)).softmax(-1), keys)


def like_gpt2(past: Tensor, new: Tensor, queries: Tensor) -> Tensor:
    keys = torch.cat([past, new], dim=2).repeat_interleave(queries.shape[1] // new.shape[1], dim=1)
    return (queries @ keys.transpose(-2, -1)).softmax(-1) @ keys


def like_hooked_transformer(past: Tensor, new: Tensor, queries: Tensor) -> Tensor:
    keys = rearrange(torch.cat([past, new], dim=-2), "row head pos d -> row pos head d")
    keys = torch.repeat_interleave(keys, dim=2, repeats=queries.shape[1] // new.shape[1])
    scores = queries @ rearrange(keys, "row pos head d -> row head d pos")
    return scores.softmax(-1) @ rearrange(keys, "row pos head d -> row head pos d")


def like_a_sliding_window(past: Tensor, new: Tensor, queries: Tensor) -> Tensor:
    keys = repeat_kv(torch.cat([past, new], dim=-2)[:, :, -5:, :], queries.shape[1] // new.shape[1])
    return torch.matmul(torch.matmul(queries, keys.transpose(2, 3)).softmax(-1), keys)


Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.mark.parametrize("attention", [like_llama, like_gpt2, like_hooked_transformer, like_a_sliding_window])
@pytest.mark.parametrize(("times", "groups", "n_new"), [(1, 1, 1), (1, 3, 2), (2, 1, 3), (3, 2, 1)])
def test_outputs_and_gradients_are_those_of_concatenated_keys(
    attention: Attention, times: int, groups: int, n_new: int
) -> None:
    frozen, new, queries = tensors(2, times, groups, n_new)
    with watching_joins() as joins:
        parts = attention(TwoPart(frozen, times=times), new, queries)
    whole = attention(frozen.repeat(times, 1, 1, 1), new, queries)
    assert not joins
    assert (parts - whole).abs().max() < 1e-6
    for of_parts, of_whole in zip(*(torch.autograd.grad(out.sin().sum(), (new, queries)) for out in (parts, whole)),
                                  strict=True):  # fmt: skip
        assert of_whole.abs().max() > 0 and (of_parts - of_whole).abs().max() < 2e-6


def test_a_prefix_is_neither_copied_nor_given_a_gradient() -> None:
    frozen, new, queries = tensors(2, 2, 3, 1)
    joined = torch.cat([TwoPart(frozen, times=2), new], dim=-2)
    assert isinstance(joined, TwoPart) and joined.frozen.data_ptr() == frozen.data_ptr()
    assert joined.shape == (4, HEADS, WIDTH + 1, D_HEAD) and not joined.requires_grad
    outputs = like_llama(TwoPart(frozen, times=2), new, queries)
    assert outputs.requires_grad and not frozen.requires_grad


@pytest.mark.parametrize(
    "function",
    [
        lambda keys: keys[:, :, 1:],
        lambda keys: keys.transpose(1, 2) @ keys.transpose(1, 2).mT,
        lambda keys: torch.index_select(keys, 0, torch.tensor([1, 1, 0])),
        lambda keys: torch.nn.functional.scaled_dot_product_attention(keys, keys, keys),
        lambda keys: keys[:, :, None].expand(-1, -1, 3, -1, -1).sum(2),
        lambda keys: keys.repeat_interleave(2, dim=1).repeat_interleave(2, dim=1) + 1,
        lambda keys: keys[keys[:, 0, 0, 0] > 0],
        lambda keys: torch.matmul(input=torch.ones(4, HEADS, 1, D_HEAD), other=keys.transpose(2, 3)),
    ],
)
def test_a_function_that_knows_no_parts_gets_the_concatenated_tensor_and_is_named(
    function: Callable[[Tensor], Tensor],
) -> None:
    frozen, new, _ = tensors(2, 2, 1, 2)
    parts = torch.cat([TwoPart(frozen, times=2), new.detach()], dim=-2)
    whole = torch.cat([frozen.repeat(2, 1, 1, 1), new.detach()], dim=-2)
    with watching_joins() as joins:
        found = function(parts)
    assert type(found) is Tensor and torch.equal(found, function(whole))
    assert joins
