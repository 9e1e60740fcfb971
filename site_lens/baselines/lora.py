"""LoRA: low-rank changes of the query and value projections, trained on the task by gradient descent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from site_lens.core.digests import seed_stream
from site_lens.core.errors import FitError, InputError, MismatchError, ModelError
from site_lens.core.sampling import zero_shot_prompts
from site_lens.core.tasks import Task
from site_lens.interventions.asking import Asked
from site_lens.interventions.methods import Method
from site_lens.models.bridge import BridgeModel
from site_lens.models.protocol import Batch, LensModel
from site_lens.selectors.settings import ComparisonConfig
from site_lens.selectors.workbench import Workbench

PROJECTIONS = ("q", "v")
"""Names that TransformerBridge gives to the query and value projections of an attention block."""


def lora(bench: Workbench, task: str) -> Method:
    """Train an adapter on the task's zero-shot prompts, by cross-entropy of the first answer token.

    The model is changed only inside the context that the method brings; outside it is as it was, to the bit. The last
    step's weights are kept.

    Raises:
        InputError: peft is not installed.
        ModelError: The model is no TransformerBridge, or has no query and value projections of its own.
        FitError: A loss was not finite.

    Reference: Hu et al., arXiv 2106.09685; rank 8 on queries and values as in Park and Rhee's comparison.
    """
    config, one = bench.config, bench.tasks[task]
    stream = seed_stream(config.seed, one.digest, "lora")
    adapter = LoraAdapter(bench.model, rank=config.lora_rank, stream=stream)
    n_labelled = train(bench.model, adapter, one, config, stream)
    n_trained = sum(weight.numel() for weight in adapter.weights)
    return Method(
        "lora", context=adapter.switched_on, n_labelled=n_labelled, n_trained=n_trained, stored_bytes=4 * n_trained
    )


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
            InputError: An adapter is switched on already.
        """
        if model is not self._model:
            raise MismatchError(f"this adapter changes modules of {self._model.identity.name}, which this model is not")
        with model.locked():
            if any(place.original_component is not self._bases[name] for name, place in self._places.items()):
                raise InputError("another adapter is switched on; leave its context first")
            try:
                self._put(self._layers)
                yield
            finally:
                self._put(self._bases)

    def _put(self, modules: dict[str, nn.Module]) -> None:
        for name, place in self._places.items():
            place.set_original_component(modules[name])

    def check_reached(self) -> None:
        """Raise ModelError where some projection was never called: its second matrix is still what it began as."""
        idle = [name for name, layer in self._layers.items() if not layer.lora_B["default"].weight.any()]
        if idle:
            raise ModelError(f"{self._model.identity.name} computes its attention without calling {', '.join(idle)}")


def train(
    model: LensModel, adapter: LoraAdapter, task: Task, config: ComparisonConfig, stream: np.random.Generator
) -> int:
    """Train an adapter with AdamW; return how many train rows were drawn, each step's with replacement.

    Raises:
        FitError: A loss was not finite.
    """
    drawn = stream.integers(len(task.train), size=(config.lora_steps, config.lora_batch))
    rows, place_of = np.unique(drawn, return_inverse=True)
    asked = Asked.of(model, zero_shot_prompts([task.train[i] for i in rows], config.template))
    optimizer = torch.optim.AdamW(adapter.weights, lr=config.lora_lr)
    with adapter.switched_on(model), torch.enable_grad():
        for step, places in enumerate(place_of.reshape(drawn.shape)):
            questions = asked.only(places.tolist())
            batch = Batch.of(questions.ids, pad=model.encoder.pad, device=model.device)
            loss = F.cross_entropy(model.forward(batch), questions.targets(model.device))
            if not torch.isfinite(loss):
                raise FitError(
                    f"the loss of LoRA on {task.name!r} became nonfinite after {step} steps; use dtype='float32', or "
                    "a smaller lora_lr"
                )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    adapter.check_reached()
    return len(rows)


def _projections(model: LensModel) -> dict[str, Any]:
    """Return the bridge's component of every query and value projection, by a name such as `v5`."""
    if not isinstance(model, BridgeModel):
        raise ModelError(
            f"{model.identity.name} is hosted by {model.identity.host}, which keeps query and value weights as bare "
            "tensors; LoRA needs their modules, which a TransformerBridge (load_model) has"
        )
    blocks = enumerate(model.host.blocks)
    found = {f"{kind}{layer}": getattr(block.attn, kind, None) for layer, block in blocks for kind in PROJECTIONS}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise ModelError(
            f"{model.identity.name} has no query and value projections of its own ({', '.join(missing[:2])} are "
            "missing; latent attention?); LoRA on them is not supported"
        )
    return found


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
