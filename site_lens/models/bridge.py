"""TransformerBridge, of TransformerLens 3.9 and 4, as a host."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.models.base import LensModel, z_points
from site_lens.models.checks import COMPARED, quick_probe, synthetic_prompts, tolerances
from site_lens.models.context_length import Context
from site_lens.models.hook_free import HookFreeModules
from site_lens.models.hooks import Function
from site_lens.models.identity import ModelIdentity
from site_lens.models.locking import exact_products, on_model
from site_lens.models.plain_transformers import (
    KnownLogits,
    original_modules,
    plain_logits,
    refuse_unless_decoder,
    text_decoder,
)
from site_lens.models.quantization import keep_gradients, refuse_packed_parts, refuse_unless_packed
from site_lens.models.recurrent_cache import empty_cache
from site_lens.models.tokenization import Encoder, refuse_unfitting
from site_lens.models.two_part import watching_joins
from site_lens.records.errors import InputError, ModelError
from site_lens.records.library_errors import error_reason, translated_errors

COMPARING = "passes are being compared"
"""Why all hook points stay while passes with all of them are measured."""


class BridgeModel(LensModel):
    """A `TransformerBridge` as a host; make one with `load_model` or `wrap_model`."""

    def __init__(self, host: Any, encoder: Encoder, identity: ModelIdentity) -> None:
        super().__init__(host, encoder, identity)
        if not hasattr(host.original_model, "config"):
            raise ModelError(
                f"{identity.name} has no Hugging Face model underneath (a bridge from boot_native?) and keeps no cache "
                "of keys and values; boot one with TransformerBridge.boot_transformers"
            )
        # Models with ALiBi take no positions; a wrapper may hide what it takes.
        parameters = inspect.signature(host.original_model.forward).parameters
        hidden = any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters.values())
        self._takes = None if hidden else set(parameters)
        self._hook_free = HookFreeModules(host, self.hook_points.values(), z_points(host).values())
        self._hooks_needed = "TransformerLens has processed the weights" if host.compatibility_mode else None
        """None until passes were compared."""
        # While a pass is hook-free, `host.blocks` holds modules of transformers.
        self._writing: dict[int, Any] = {layer: getattr(host.blocks[layer].attn, "o", None) for layer in z_points(host)}

    @property
    def hooks_needed(self) -> str:
        """Reason for which no pass is hook-free; empty where those behind a prefix, and reads of z, can be.

        They can be where logits and gradients are the same, to a tenth of what the check of a model allows.
        """
        with self.locked():
            if self._hooks_needed is not None:
                return self._hooks_needed
            if not self._hook_free.is_enough():
                return "functions or adapters are on the model"
            with exact_products():
                self._hooks_needed = self._compared_without_hooks()
            return self._hooks_needed

    def _compared_without_hooks(self) -> str:
        """Compare passes behind a prefix with all hook points and without; return why they are needed, if they are."""
        probe, passes = quick_probe(self), []
        alpha = torch.full(self.grid.shape, 0.5, device=self.device, requires_grad=True)
        try:
            self._hooks_needed = COMPARING
            probe.decode(probe.batch, 1)  # says whose code writes into states, of which autograd says less
            for reason in (COMPARING, ""):
                self._hooks_needed = reason
                with torch.enable_grad(), watching_joins() as joins:
                    logits = probe.decode(probe.batch, 1, probe.edits_of(alpha, -1))
                    loss = logits.log_softmax(-1)[:, 0].sum() + 0 * alpha.sum()  # which alpha may not reach
                    passes.append((logits.detach(), torch.autograd.grad(loss, alpha)[0], joins))
        except (ModelError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or self._hooks_needed:
                raise
            return f"transformers' own code fails: {error_reason(error)}"
        finally:
            self._hooks_needed = None
        (logits, gradient, joins), (free_logits, free_gradient, free_joins) = passes
        if slower := free_joins - joins:
            return f"without, attention concatenates keys and values ({', '.join(sorted(slower))})"
        gap = probe.gap(free_logits, logits)
        slope = float((free_gradient - gradient).abs().max() / gradient.abs().max().clamp(min=1e-30))
        if all(10 * each <= most for each, most in zip((gap, slope), tolerances(self.identity), strict=True)):
            return ""
        return f"without, logits differ by {gap:.2g} and gradients by {slope:.2g}"

    @contextmanager
    def _hooked(self, functions: Sequence[tuple[Any, Function]]) -> Iterator[None]:
        is_free = not self.hooks_needed
        with (
            super()._hooked(functions),  # before the next line asks: the functions may need other hook points
            self._hook_free.in_place() if is_free and self._hook_free.is_enough() else nullcontext(),
        ):
            yield

    @on_model
    def plain_logits(self, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Return the logits of plain transformers at the last token; see `LensModel.plain_logits`."""
        if tuple(prompt) in self.known:
            return super().plain_logits(prompt)
        if self.host.compatibility_mode:
            raise ModelError("its weights were processed by TransformerLens (compatibility mode)")
        with original_modules(self.host.original_model) as hf_model:
            return plain_logits(hf_model, prompt).to(self.device)

    def _write(self, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row d_model"]:
        module = self._writing[layer]
        weights = next(module.parameters())
        dtype = weights.dtype if weights.is_floating_point() else None  # quantised weights cast by themselves
        written: Tensor = module(z.flatten(1).to(device=weights.device, dtype=dtype))
        return written

    def _empty_cache(self, n_rows: int) -> Any:
        return empty_cache(self.host.original_model.config)

    def _logits(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Any | None, last_only: bool) -> Tensor:
        # Positions are explicit: a mask alone is not enough for absolute positions under left padding
        # (TransformerLens 3.x is off by 0.25 in GPT-2's logits).
        options: dict[str, Any] = {"position_ids": positions.clamp(max=self.encoder.n_ctx - 1)}
        if last_only:
            options["logits_to_keep"] = 1
        if self._takes is not None:
            options = {name: value for name, value in options.items() if name in self._takes}
        past = {"use_cache": False} if cache is None else {"past_key_values": cache}
        logits: Tensor = self.host(tokens, attention_mask=mask, **past, **options)
        return logits


def hooking_errors(name: str, architecture: str) -> AbstractContextManager[None]:
    """Turn errors raised while a model is taken over, or runs for the first time, into a ModelError."""
    return translated_errors(
        lambda reason: ModelError(f"TransformerLens cannot hook {name} ({architecture}): {reason}")
    )


def boot(source: str, *, architecture: str, **options: Any) -> Any:
    """Make a TransformerBridge.

    Raises:
        ModelError: TransformerLens does not know the architecture, or cannot take these weights apart.
    """
    from transformer_lens.model_bridge import TransformerBridge

    with hooking_errors(source, architecture):
        try:
            return TransformerBridge.boot_transformers(source, **options)
        except ValueError as error:
            if "supported architecture" not in str(error):
                raise
            raise ModelError(f"TransformerLens does not know the architecture {architecture}, of {source}") from error


def take_over(hf_model: Any, tokenizer: Any, name: str) -> tuple[Any, KnownLogits]:
    """Have a TransformerBridge take over a Hugging Face model, wherever its weights are.

    Returns:
        The bridge, and logits that the model gave before.

    Raises:
        InputError: Another bridge has taken it over already, it is no decoder of text with a language-model head, or
            the tokenizer does not fit.
        ModelError: TransformerLens does not know the architecture, or cannot take these weights apart.
    """
    if any(hasattr(module, "original_component") for module in hf_model.modules()):
        raise InputError(
            f"{name} was taken over by a TransformerBridge already; wrap that bridge, or load the model anew"
        )
    refuse_unless_decoder(hf_model.config, name)
    if hf_model.get_output_embeddings() is None:
        raise InputError(
            f"{name!r} has no language-model head, as a {type(hf_model).__name__}; load it with AutoModelForCausalLM"
        )
    n_tokens = len(hf_model.get_input_embeddings().weight)
    refuse_unfitting(tokenizer, n_tokens)
    refuse_unless_packed(hf_model)
    refuse_packed_parts(hf_model)
    keep_gradients(hf_model)
    with hooking_errors(name, type(hf_model).__name__):
        if hf_model.eval().config._attn_implementation != "eager":  # the others do not show their attention
            hf_model.set_attn_implementation("eager")
        known = _known_logits(hf_model, min(len(tokenizer), n_tokens))
        # Of a model that sees images, too, TransformerLens would load the image processor, and install packages for it.
        hf_model = text_decoder(hf_model)
    architecture = type(hf_model).__name__
    if architecture not in (hf_model.config.architectures or ()):  # never saved, or saved as another class
        hf_model.config.architectures = [architecture]
    # TransformerLens would make the tokenizer anew, from where it was loaded, as one that adds BOS; this leaves it be.
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.init_kwargs |= {"name_or_path": name, "add_bos_token": True}
    bridge = boot(name, architecture=architecture, hf_model=hf_model, tokenizer=tokenizer, device=hf_model.device)
    return bridge, known


def _known_logits(hf_model: Any, vocabulary: int) -> KnownLogits:
    n_ctx = getattr(hf_model.config.get_text_config(), "max_position_embeddings", None) or max(COMPARED)
    n_ctx = Context.of(hf_model.config, n_ctx).n_ctx
    prompts = synthetic_prompts(vocabulary, [min(length, n_ctx) for length in COMPARED])
    return {tuple(prompt): plain_logits(hf_model, prompt).cpu() for prompt in prompts}


def keep_dtype_of_rotated(bridge: Any) -> None:
    """Make queries and keys keep their number format when positions are rotated into them.

    OLMo and Cohere rotate in float32 and cast back; TransformerLens leaves out the cast, and in bfloat16 the product of
    attention and values then fails.
    """
    dtype = next(weight.dtype for weight in bridge.parameters() if weight.is_floating_point())
    if dtype == torch.float32:
        return
    for block in getattr(bridge, "blocks", ()):
        for name in ("hook_rot_q", "hook_rot_k"):
            point = getattr(getattr(block, "attn", None), name, None)
            if isinstance(point, torch.nn.Module):
                point.register_forward_hook(lambda _, args, rotated: rotated.to(dtype))
