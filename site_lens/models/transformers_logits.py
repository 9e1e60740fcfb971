"""Plain transformers: the logits that a hooked model must equal, and adapters that hooks would leave out."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.records.errors import AdapterError, ModelError

Known = dict[tuple[int, ...], Tensor]
"""Logits (vocab) at the last token of prompts, as plain transformers computed them."""


def made_up(vocabulary: int, lengths: Sequence[int]) -> list[list[int]]:
    """Return prompts of these lengths, always the same tokens, whatever they mean."""
    return [[(7 * i + 5 * row + 11) % vocabulary for i in range(length)] for row, length in enumerate(lengths)]


@torch.no_grad()
def plain_logits(hf_model: Any, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
    """Return the logits at the last token of a prompt as transformers alone computes them, float32.

    The model is in eval mode and attends in eager mode, as it does under a bridge: in bfloat16 the fused functions
    round otherwise, which moves logits by up to .065 of their standard deviation.

    Raises:
        ModelError: transformers cannot run the model, or it gives no logits.
    """
    try:
        return _last_logits(hf_model, prompt)
    except RuntimeError:  # the eager function alone minds a config with more key-value heads than there are (DeepSeek)
        hf_model.set_attn_implementation("sdpa")
        try:
            return _last_logits(hf_model, prompt)
        except RuntimeError as error:
            raise ModelError(f"transformers cannot run this {type(hf_model).__name__}: {error}") from error
        finally:
            hf_model.set_attn_implementation("eager")


def _last_logits(hf_model: Any, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
    tokens = torch.tensor([list(prompt)], device=next(hf_model.parameters()).device)
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(hf_model.forward).parameters else {}
    logits = getattr(hf_model(tokens, **last), "logits", None)
    if logits is None or logits.ndim != 3:
        raise ModelError(f"a {type(hf_model).__name__} gives no logits of the next token")
    found: Tensor = logits[0, -1].float()
    return found


@contextmanager
def as_transformers_made_it(hf_model: Any) -> Iterator[Any]:
    """Put the modules that a TransformerBridge replaced back in place for as long as the context lasts."""
    replaced: list[tuple[dict[str, Any], str, Any]] = []

    def put_back(parent: Any) -> None:
        for name, child in parent._modules.items():
            original = getattr(child, "original_component", None)
            if original is not None:
                replaced.append((parent._modules, name, child))
                parent._modules[name] = original
            if child is not None:
                put_back(parent._modules[name])

    try:
        put_back(hf_model)
        yield hf_model
    finally:
        for modules, name, child in reversed(replaced):
            modules[name] = child


def refuse_adapters(model: Any, name: str) -> None:
    """Check that no PEFT adapter stands in a model in memory.

    TransformerBridge takes the base weights of what it splits (GPT-2's c_attn, Phi-3's qkv_proj and gate_up_proj), and
    an adapter there would be dropped; what reads weights would leave it out everywhere.

    Raises:
        AdapterError: There is one.
    """
    found = {path: _kind_of_adapter(module) for path, module in model.named_modules()}
    places = [path for path, kind in found.items() if kind]
    if not places:
        return
    more = f" and {len(places) - 1} more" if places[1:] else ""
    raise AdapterError(
        f"{name} has an adapter that is not merged ({found[places[0]]} in {places[0]}{more}), which hooks leave out; "
        "hand over what peft's .merge_and_unload() returns (prompt and prefix tuning cannot be merged: they are not "
        "supported)"
    )


def _kind_of_adapter(module: Any) -> str:
    """Name the kind of a module of PEFT's, such as lora; nothing for others, and wrappers of whole models."""
    places = [cls.__module__.split(".") for cls in type(module).__mro__]
    kinds = [place[-2] for place in places if place[0] == "peft" and not hasattr(module, "peft_config")]
    return kinds[0] if kinds else ""


def refuse_adapter_files(source: str, name: str, revision: str | None) -> None:
    """Check that a checkpoint brings no adapter: transformers loads one unmerged, or not at all without peft.

    Raises:
        AdapterError: There is an adapter_config.json.
        OSError: There is no such repository.
    """
    from transformers.utils import find_adapter_config_file

    if find_adapter_config_file(source, revision=revision) is not None:
        raise AdapterError(
            f"{name!r} brings an adapter (adapter_config.json), which hooks would leave out; load the model with peft, "
            "save what .merge_and_unload() returns, and load that (if the weights are merged already, remove the file)"
        )
