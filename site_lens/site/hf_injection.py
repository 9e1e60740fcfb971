"""SITE injection in plain Hugging Face models: under `generate`, with cache, sampling and beams."""

import functools
import inspect
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor, nn

from site_lens.activations.hf_models import find_projections, plain_identity
from site_lens.activations.injection import injection
from site_lens.models.hooks import edit_hook
from site_lens.records.errors import InputError, ModelError
from site_lens.records.terminal_escape import visible
from site_lens.site.fit import Pair, SiteFit, gates_and_embedding

FitOrPair = SiteFit | Pair
"""A fit, or gates and an embedding that belong together, such as `fit.gates.hard()`; gates bring their mix rule."""

_DEPLOYED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


def attach(
    hf_model: Any, fits: FitOrPair | Sequence[FitOrPair | None], *, tokenizer: Any | None = None
) -> "Deployment":
    """Inject a fit into a plain `transformers` model until it is removed.

    The edit acts once, on the last prompt token, in every layer at the input of the attention's output projection;
    from there the KV cache carries it on. Under `generate` the last prompt token is that of the inputs, whatever the
    decoding: greedy, sampling, beams, with a cache or without. A bare call of the model is taken as whole prompts when
    it comes without a cache, and as a continuation, which is left alone, when it comes with a filled one. Several
    threads may call the model at once. While a fit is deployed the model can be saved, but not copied or pickled.

    Args:
        hf_model: A decoder loaded with `AutoModelForCausalLM`; its weights are not touched.
        fits: One fit for all prompts, or a list with one fit, or None for no edit, per prompt.
        tokenizer: The tokenizer that makes the prompts, to be compared with the one of the fit.

    Returns:
        The handle, to be kept: `handle.remove()` puts the model back as it was.

    Raises:
        InputError: It is no such model, there are no fits, or a fit is deployed in it already.
        MismatchError: A fit belongs to a model of other heads, or of weights processed in another way.
        ModelError: The model has no output projection that is known here; the message names what it has.

    Warns:
        UserWarning: Weights, number format, tokenizer or BOS differ from those of the fit.

    Reference: arXiv 2507.20906, section 3, inference: zero-shot prompts, edited once during prefill.
    """
    return Deployment(hf_model, fits, tokenizer)


@contextmanager
def deploy(
    hf_model: Any, fits: FitOrPair | Sequence[FitOrPair | None], *, tokenizer: Any | None = None
) -> Iterator["Deployment"]:
    """Inject a fit into a plain `transformers` model for as long as the context lasts; see `attach`.

    Example:
        >>> import site_lens as sl
        >>> from site_lens.records.assets import DEMO_MODEL
        >>> from transformers import AutoModelForCausalLM
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> fits = sl.fit_site(sl.load_model("demo", device="cpu"), sl.load_tasks("demo", ["antonym"]), config)
        >>> hf_model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype="float32")
        >>> with sl.deploy(hf_model, fits["antonym"]) as deployment:
        ...     deployment.differences
        ()
    """
    handle = attach(hf_model, fits, tokenizer=tokenizer)
    try:
        yield handle
    finally:
        handle.remove()


class _Call(threading.local):
    """State of one thread's call of the model."""

    prompts: tuple[int, int] | None = None
    """Rows and columns of the prompts of a `generate` call; the last prompt token stands in the last column."""
    edited = False
    """Whether the last prompt token has passed."""

    def __init__(self) -> None:
        self.edits: dict[int, list[Callable[[Tensor], Tensor]]] = {}
        """Edits of the call, by layer."""
        self.waiting: set[int] = set()
        """Layers that they have not reached yet."""


class Deployment:
    """A fit deployed in a plain model until `remove`; made by `attach` and `deploy`."""

    differences: tuple[str, ...]
    """What differs between this model and that of each fit, without making the use wrong."""
    uncompared: tuple[str, ...]
    """What could not be compared."""

    def __init__(self, hf_model: Any, fits: FitOrPair | Sequence[FitOrPair | None], tokenizer: Any | None) -> None:
        projections = find_projections(hf_model)
        if hf_model in _DEPLOYED:
            raise InputError(
                "a fit is deployed in this model already; remove it first, or pass a list with one per row"
            )
        self._one_for_all = isinstance(fits, SiteFit | tuple) or not isinstance(fits, Sequence)
        of_prompt: list[Any] = [fits] if self._one_for_all else list(fits)
        self._set_tensors(of_prompt, next(hf_model.parameters()).device)
        differing: dict[str, None] = {}
        skipped: dict[str, None] = {}
        for _, embedding in self._pairs:
            identity, uncompared = plain_identity(hf_model, projections, like=embedding.model, tokenizer=tokenizer)
            differing |= dict.fromkeys(identity.check_use(embedding.model, f"the embedding of {embedding.task!r}"))
            skipped |= dict.fromkeys(uncompared)
        self.differences, self.uncompared = tuple(differing), tuple(skipped)
        for difference in self.differences:  # before any hook is there: where warnings are errors, nothing is left
            warnings.warn(visible(difference), UserWarning, stacklevel=3)
        self._model, self._call = hf_model, _Call()
        self._signature = inspect.signature(hf_model.forward)
        self._hooks = [
            hf_model.register_forward_pre_hook(self._begin, with_kwargs=True),
            hf_model.register_forward_hook(self._end, always_call=True),
            *(m.register_forward_pre_hook(functools.partial(self._edit, layer)) for layer, m in projections.items()),
        ]
        self._plain_generate = hf_model.generate
        hf_model.generate = functools.update_wrapper(functools.partial(self._generate), hf_model.generate)
        _DEPLOYED.add(hf_model)

    def _set_tensors(self, of_prompt: Sequence[Any], device: torch.device) -> None:
        """Put alphas and embeddings of the distinct fits, and which of them each prompt uses, on the device."""
        distinct = {id(fit): fit for fit in of_prompt if fit is not None}
        if not distinct:
            raise InputError("there is no fit to deploy; give a fit, or a list with one fit or None per prompt")
        self._pairs = [gates_and_embedding(fit) for fit in distinct.values()]
        self._heads_per_layer = self._pairs[0][0].grid.heads_per_layer
        zeros = np.zeros_like(self._pairs[0][0].values)
        with torch.inference_mode(False):  # what is made in inference mode cannot take part in gradients later
            # Index -1, for prompts without a fit, meets the zeros below the last fit's alphas: they change nothing.
            places = [[*distinct].index(id(fit)) if fit is not None else -1 for fit in of_prompt]
            self._fit_of_prompt = torch.tensor(places, device=device)
            self._embeddings = torch.tensor(np.stack([embedding.mean for _, embedding in self._pairs]), device=device)
            self._alphas = {
                rule: torch.tensor(
                    np.stack([*(gates.values if gates.mix == rule else zeros for gates, _ in self._pairs), zeros]),
                    device=device,
                )
                for rule in dict.fromkeys(gates.mix for gates, _ in self._pairs)
            }

    def remove(self) -> None:
        """Put the model back as it was; a second call does nothing."""
        if self._model not in _DEPLOYED:
            return
        for hook in self._hooks:
            hook.remove()
        del self._model.generate
        _DEPLOYED.discard(self._model)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        given = _bound(inspect.signature(self._plain_generate), args, kwargs)
        names = ("inputs_embeds", "input_ids", "inputs")
        prompts = next((given[name] for name in names if given.get(name) is not None), None)
        if prompts is None:
            raise InputError("generate needs prompts here (input_ids or inputs_embeds): their last token is edited")
        _refuse_right_padding(given.get("attention_mask"), prompts.shape[1])
        call, outer = self._call, (self._call.prompts, self._call.edited)
        call.prompts, call.edited = (prompts.shape[0], prompts.shape[1]), False
        try:
            generated, edited = self._plain_generate(*args, **kwargs), call.edited
        finally:
            call.prompts, call.edited = outer
        if not edited:
            raise ModelError(
                "generate never passed the last prompt token through the model, so nothing was edited; was it in the "
                "cache already?"
            )
        return generated

    def _begin(self, hf_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find out whether the last prompt token passes in this call, and in which column."""
        call = self._call
        call.edits, call.waiting = {}, set()  # an interrupted call may have left some
        given = _bound(self._signature, args, kwargs)
        tokens = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
        cache, mask = given.get("past_key_values"), given.get("attention_mask")
        n_cached = 0 if cache is None else int(cache.get_seq_length())
        width = tokens.shape[1] if call.prompts is None else call.prompts[1]
        column = width - 1 - n_cached
        if (call.prompts is None and n_cached) or not 0 <= column < tokens.shape[1]:
            return
        if call.prompts is None and mask is not None and not _is_row_pos(mask):
            raise InputError("a call with a deployed fit needs an attention mask (row pos) of ones and zeros, or none")
        _refuse_right_padding(mask, width)
        rows = self._fit_of_row(tokens.shape[0])
        for rule, alphas in self._alphas.items():
            edits = injection(
                alphas[rows], self._embeddings, rows, heads_per_layer=self._heads_per_layer, rule=rule, column=column
            )
            for edit in edits:
                hook = edit_hook(edit, self._heads_per_layer[edit.layer], self._embeddings.shape[-1])
                call.edits.setdefault(edit.layer, []).append(hook)
        call.waiting = set(call.edits)

    def _fit_of_row(self, n_rows: int) -> Int[Tensor, " #row"]:
        """Index of the fit that each row of a call uses; beams and sequences of a prompt stand below each other."""
        if self._one_for_all:
            return self._fit_of_prompt
        n_fits, n_prompts = len(self._fit_of_prompt), n_rows if self._call.prompts is None else self._call.prompts[0]
        if n_prompts != n_fits or n_rows % n_prompts:
            raise InputError(
                f"{n_fits} fits are deployed, one per prompt, but {n_prompts} prompts came in {n_rows} rows"
            )
        return self._fit_of_prompt.repeat_interleave(n_rows // n_prompts)

    def _edit(self, layer: int, projection: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Change what the heads of a layer hand to their output projection."""
        edits = self._call.edits.get(layer)
        if edits is None:
            return None
        z = args[0]
        if z.ndim != 3:
            raise ModelError(
                f"the heads of layer {layer} write a tensor of shape {tuple(z.shape)}, not (row pos width)"
            )
        by_head = rearrange(z, "row pos (head d_head) -> row pos head d_head", head=self._heads_per_layer[layer])
        for function in edits:
            by_head = function(by_head)
        self._call.waiting.discard(layer)
        return (rearrange(by_head, "row pos head d_head -> row pos (head d_head)"), *args[1:])

    def _end(self, hf_model: Any, args: tuple[Any, ...], output: Any) -> None:
        """Forget the edits of this call; a layer that they did not reach is an error."""
        waiting, was_prompt = sorted(self._call.waiting), bool(self._call.edits)
        self._call.edits, self._call.waiting = {}, set()
        if output is None:  # the call ended in an error of its own
            return
        if waiting:
            raise ModelError(f"layers {waiting} computed attention without calling their output projection: not edited")
        self._call.edited = self._call.edited or was_prompt


def _bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    given = signature.bind_partial(*args, **kwargs).arguments
    return {**given, **given.get("kwargs", {})}


def _is_row_pos(mask: object) -> bool:
    return isinstance(mask, Tensor) and mask.ndim == 2


def _refuse_right_padding(mask: Any, width: int) -> None:
    """Raise unless every prompt ends in its last column; masks of other shapes than (row pos) say nothing about it."""
    if _is_row_pos(mask) and mask.shape[1] >= width and not bool(mask[:, width - 1].all()):
        raise InputError("a prompt is padded on the right; pad on the left, with tokenizer.padding_side = 'left'")
