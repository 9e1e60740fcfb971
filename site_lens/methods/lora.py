"""LoRA: low-rank changes of the query and value projections, trained on the task by gradient descent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from site_lens.methods.method import Method
from site_lens.methods.training import train
from site_lens.models.base import LensModel
from site_lens.models.bridge import BridgeModel
from site_lens.records.errors import InputError, MismatchError, ModelError
from site_lens.selectors.context import ComparisonContext

PROJECTIONS = ("q", "v")
"""Names that TransformerBridge gives to the query and value projections of an attention block."""


def lora(context: ComparisonContext, task: str) -> Method:
    """Train an adapter on the task's zero-shot prompts, by cross-entropy of the first answer token.

    The model is changed only inside the context that the method brings; outside it is as it was, to the bit.
    `config.lora_steps` steps of AdamW at multiples of `config.lora_lr`, all from the same weights and on the same
    draws; checkpoint and rate are chosen on valid.

    Raises:
        InputError: peft is not installed.
        ModelError: The model is no TransformerBridge, or has no query and value projections of its own.
        FitError: The loss became nonfinite at every rate.

    Reference: Hu et al., arXiv 2106.09685; rank 8 on queries and values as in Park and Rhee's comparison, whose other
    settings of LoRA are not known. Hu et al. let the rate rise and fall.
    """
    config, stream = context.config, context.stream(task, "lora")
    adapter = LoraAdapter(context.model, rank=config.lora_rank, stream=stream)
    n_trained = sum(weight.numel() for weight in adapter.weights)
    method = Method("lora", context=adapter.switched_on, n_trained=n_trained, stored_bytes=4 * n_trained)
    notes, rows = train(
        context, task, method, adapter.weights, torch.optim.AdamW, lr=config.lora_lr, n_steps=config.lora_steps,
        batch_size=config.lora_batch, stream=stream,
    )  # fmt: skip
    adapter.check_reached()
    return replace(method, n_labelled=len(rows) + context.labelled("valid", task=task), notes=notes)


class LoraAdapter:
    """Low-rank changes of the query and value projections of every layer, to be switched on for a while.

    Adapters of several tasks stand beside each other: each wraps the model's projections by modules of its own, which
    take their place only while it is switched on.

    Args:
        model: The model.
        rank: Rank of each change; its scale is 1.
        stream: Source of the first weights.

    Raises:
        InputError: peft is not installed.
        ModelError: The model is no TransformerBridge, or has no query and value projections of its own.
    """

    def __init__(self, model: LensModel, *, rank: int, stream: np.random.Generator) -> None:
        self._model = model
        with model.locked():  # in a pass of another thread its modules may be those of transformers
            self._places = _projections(model)
        self._bases: dict[str, nn.Module] = {name: place.original_component for name, place in self._places.items()}
        self._layers = _with_lora(self._bases, rank, seed=int(stream.integers(2**63)))
        every = (weight for layer in self._layers.values() for weight in layer.parameters())
        self.weights = [weight for weight in every if weight.requires_grad]
        """What is trained: two matrices a projection."""

    @contextmanager
    def switched_on(self, model: LensModel) -> Iterator[None]:
        """Change the model for as long as the context lasts.

        Raises:
            MismatchError: It was made for another model.
        """
        if model is not self._model:
            raise MismatchError(f"this adapter changes modules of {self._model.identity.name}, which this model is not")
        with model.locked():
            try:
                self._put(self._layers)
                yield
            finally:
                self._put(self._bases)

    def _put(self, modules: dict[str, nn.Module]) -> None:
        self._model.kept.clear()  # computed with the other modules
        for name, place in self._places.items():
            place.set_original_component(modules[name])

    def check_reached(self) -> None:
        """Raise ModelError where some projection was never called in training: its matrices got no gradient."""
        idle = [name for name, layer in self._layers.items() if layer.lora_B["default"].weight.grad is None]
        if idle:
            raise ModelError(f"{self._model.identity.name} computes its attention without calling {', '.join(idle)}")


def _projections(model: LensModel) -> dict[str, Any]:
    """Return the bridge's component of every query and value projection, by a name such as `v5`."""
    if not isinstance(model, BridgeModel):
        raise ModelError(
            f"{model.identity.name} is hosted by {model.identity.host}, which keeps query and value weights as bare "
            "tensors; LoRA needs their modules, which a TransformerBridge (load_model) has"
        )
    layers = [layer for layer, n_heads in enumerate(model.grid.heads_per_layer) if n_heads]
    projections = {
        f"{kind}{layer}": getattr(model.host.blocks[layer].attn, kind, None) for layer in layers for kind in PROJECTIONS
    }
    missing = [name for name, place in projections.items() if place is None]
    if missing:
        raise ModelError(
            f"{model.identity.name} has no query and value projections of its own ({', '.join(missing[:2])} are "
            "missing; latent attention?); LoRA on them is not supported"
        )
    return projections


def _with_lora(bases: dict[str, nn.Module], rank: int, *, seed: int) -> dict[str, Any]:
    """Wrap linear modules by peft's LoRA layers; the modules themselves stay where they are."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError('LoRA needs peft; install it with: pip install "site_lens[lora]"') from error
    holder = nn.ModuleDict(bases)
    with torch.random.fork_rng(devices=[]):  # peft draws its first weights on the CPU from the global stream
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(bases)), holder)
    return dict(holder.items())
