"""Fits at work in plain Hugging Face models: under `generate`, with cache, sampling and beams."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from site_lens.core.embedding import TaskEmbedding
from site_lens.core.errors import InputError, MismatchError, ModelError
from site_lens.core.fits import MixRule, SiteFit
from site_lens.core.scores import HeadGates
from site_lens.core.shown import visible
from site_lens.interventions.patching import injection
from site_lens.interventions.plain_models import find_projections, plain_identity
from site_lens.models.hooking import editing

Fitted = SiteFit | tuple[HeadGates, TaskEmbedding]
"""What can be put to work: a fit, or gates and an embedding that belong together, such as `fit.gates.hard()`."""


def attach(hf_model: Any, fits: Fitted | Sequence[Fitted | None], *, tokenizer: Any | None = None) -> "Deployment":
    """Put a fit to work in a plain `transformers` model until it is removed.

    The edit acts once, on the last prompt token, in every layer at the input of the attention's output projection;
    from there the KV cache carries it on. Under `generate` the last prompt token is that of the inputs, whatever the
    decoding: greedy, sampling, beams, with a cache or without. A bare call of the model is taken as whole prompts when
    it comes without a cache, and as a continuation, which is left alone, when it comes with a filled one.

    Args:
        hf_model: A decoder loaded with `AutoModelForCausalLM`; its weights are not touched.
        fits: One fit for all prompts, or a list with one fit, or None for no edit, per prompt.
        tokenizer: The tokenizer that makes the prompts, to be compared with the one of the fit.

    Returns:
        The handle; `handle.remove()` puts the model back as it was.

    Raises:
        InputError: It is no such model, there are no fits, or a fit is at work in it already.
        MismatchError: A fit belongs to a model of other heads, or of weights processed in another way.
        ModelError: The model has no output projection that is known here; the message names what was found.

    Warns:
        UserWarning: Weights, number format, tokenizer or BOS differ from those of the fit.

    Reference: arXiv 2507.20906, section 3, inference: zero-shot prompts, edited once during prefill.
    """
    handle = Deployment(hf_model, fits, tokenizer)
    try:
        for difference in handle.differences:
            warnings.warn(visible(difference), UserWarning, stacklevel=2)
    except UserWarning:  # where warnings are errors, nobody gets the handle
        handle.remove()
        raise
    return handle


@contextmanager
def deploy(
    hf_model: Any, fits: Fitted | Sequence[Fitted | None], *, tokenizer: Any | None = None
) -> Iterator["Deployment"]:
    """Put a fit to work in a plain `transformers` model for as long as the context lasts; see `attach`.

    Example:
        >>> import site_lens as sl
        >>> from site_lens.core.assets import DEMO_MODEL
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


class _Table:
    """Alphas and embeddings of the distinct fits, and which of them each prompt uses."""

    def __init__(self, fits: Fitted | Sequence[Fitted | None], device: torch.device) -> None:
        self.one_for_all = isinstance(fits, SiteFit) or _is_pair(fits) or not isinstance(fits, Sequence)
        of_prompt: list[Any] = [fits] if self.one_for_all else list(fits)
        distinct = {id(fit): fit for fit in of_prompt if fit is not None}
        if not distinct:
            raise InputError("there is no fit to put to work; give a fit, or a list with one fit or None per prompt")
        self.parts = [_part(fit) for fit in distinct.values()]
        place = {key: index for index, key in enumerate(distinct)}
        # Index -1, for prompts without a fit, meets the zeros below the last fit's alphas: they change nothing.
        self.fit_of_prompt = torch.tensor([place.get(id(fit), -1) for fit in of_prompt], device=device)
        self.device = device

    @functools.cached_property
    def embeddings(self) -> Tensor:
        """(fit layer head d_head)."""
        return torch.tensor(np.stack([embedding.mean for _, embedding, _ in self.parts]), device=self.device)

    @functools.cached_property
    def alphas(self) -> dict[MixRule, Tensor]:
        """(fit+1 layer head) by mix rule: zeros for the fits of another rule, and below the last."""
        zeros = np.zeros_like(self.parts[0][0].values)
        return {
            rule: torch.tensor(
                np.stack([*(g.values if own == rule else zeros for g, _, own in self.parts), zeros]), device=self.device
            )
            for rule in dict.fromkeys(rule for _, _, rule in self.parts)
        }


def _part(fit: object) -> tuple[HeadGates, TaskEmbedding, MixRule]:
    if isinstance(fit, SiteFit):
        return fit.gates, fit.embedding, fit.config.mix
    if not _is_pair(fit):
        raise InputError(f"cannot put a {type(fit).__name__} to work; give a SiteFit, or (HeadGates, TaskEmbedding)")
    gates, embedding = fit
    if gates.grid != embedding.model.grid:
        raise MismatchError(f"gates over {gates.grid} do not fit an embedding over {embedding.model.grid}")
    return gates, embedding, "convex"


def _is_pair(fit: object) -> TypeGuard[tuple[HeadGates, TaskEmbedding]]:
    return isinstance(fit, tuple) and list(map(type, fit)) == [HeadGates, TaskEmbedding]


@dataclass(frozen=True, slots=True)
class _Prompts:
    """The prompts of one `generate` call."""

    n: int
    width: int
    """Columns, padding included; the last prompt token stands in the last of them."""


class Deployment:
    """A fit at work in a plain model; made by `attach` and `deploy`."""

    differences: tuple[str, ...]
    """What differs between this model and that of each fit, without making the use wrong."""
    uncompared: tuple[str, ...]
    """What could not be compared."""

    def __init__(self, hf_model: Any, fits: Fitted | Sequence[Fitted | None], tokenizer: Any | None) -> None:
        projections = find_projections(hf_model)
        if "generate" in vars(hf_model):
            raise InputError("a fit is at work in this model already; remove it first, or give a list with one per row")
        self._model = hf_model
        self._table = _Table(fits, next(hf_model.parameters()).device)
        self.differences, self.uncompared = self._check(projections, tokenizer)
        self._heads_per_layer = self._table.parts[0][0].grid.heads_per_layer
        self._signature = inspect.signature(hf_model.forward)
        self._prompts: _Prompts | None = None
        self._acted = False
        self._edits: dict[int, list[Callable[[Tensor], Tensor]]] = {}
        self._waiting: set[int] = set()
        self._hooks = [
            hf_model.register_forward_pre_hook(self._begin, with_kwargs=True),
            hf_model.register_forward_hook(self._end, always_call=True),
            *(m.register_forward_pre_hook(functools.partial(self._edit, layer)) for layer, m in projections.items()),
        ]
        self._plain_generate = hf_model.generate

        @functools.wraps(hf_model.generate)
        def generate(*args: Any, **kwargs: Any) -> Any:
            return self._generate(*args, **kwargs)

        hf_model.generate = generate

    def remove(self) -> None:
        """Put the model back as it was; a second call does nothing."""
        for hook in self._hooks:
            hook.remove()
        if self._hooks:
            del self._model.generate
        self._hooks = []

    def _check(
        self, projections: dict[int, nn.Module], tokenizer: Any | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        differing: dict[str, None] = {}
        skipped: dict[str, None] = {}
        for _, embedding, _ in self._table.parts:
            identity, uncompared = plain_identity(self._model, projections, like=embedding.model, tokenizer=tokenizer)
            differing |= dict.fromkeys(identity.check_use(embedding.model, f"the embedding of {embedding.task!r}"))
            skipped |= dict.fromkeys(uncompared)
        return tuple(differing), tuple(skipped)

    # What happens around calls of the model

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(self._plain_generate).bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        names = ("inputs_embeds", "input_ids", "inputs")
        prompts = next((given[name] for name in names if given.get(name) is not None), None)
        if prompts is None:
            raise InputError("generate needs prompts here (input_ids or inputs_embeds): their last token is edited")
        _refuse_right_padding(given.get("attention_mask"), prompts.shape[1])
        self._prompts, self._acted = _Prompts(prompts.shape[0], prompts.shape[1]), False
        try:
            made = self._plain_generate(*args, **kwargs)
        finally:
            self._prompts = None
        if not self._acted:
            raise ModelError(
                "generate never passed the last prompt token through the model, so nothing was edited; was it in the "
                "cache already?"
            )
        return made

    def _begin(self, hf_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find out whether the last prompt token passes in this call, and in which column."""
        given = self._signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        tokens = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
        cache, mask = given.get("past_key_values"), given.get("attention_mask")
        n_old = 0 if cache is None else int(cache.get_seq_length())
        if self._prompts is None and n_old:
            return
        width = tokens.shape[1] if self._prompts is None else self._prompts.width
        column = width - 1 - n_old
        if not 0 <= column < tokens.shape[1]:
            return
        if self._prompts is None and mask is not None and not _is_row_pos(mask):
            raise InputError("a call with a fit at work needs an attention mask (row pos) of ones and zeros, or none")
        _refuse_right_padding(mask, width)
        rows = self._fit_of_row(tokens.shape[0])
        for rule, alphas in self._table.alphas.items():
            for edit in injection(
                alphas[rows],
                self._table.embeddings,
                rows,
                heads_per_layer=self._heads_per_layer,
                rule=rule,
                column=column,
            ):
                function = editing(edit, self._heads_per_layer[edit.layer])
                self._edits.setdefault(edit.layer, []).append(function)
        self._waiting = set(self._edits)

    def _fit_of_row(self, n_rows: int) -> Int[Tensor, " #row"]:
        """Which fit each row of a call uses; beams and several sequences a prompt stand below each other."""
        fit_of_prompt = self._table.fit_of_prompt
        if self._table.one_for_all:
            return fit_of_prompt
        n_prompts = n_rows if self._prompts is None else self._prompts.n
        if n_prompts != len(fit_of_prompt) or n_rows % n_prompts:
            raise InputError(
                f"{len(fit_of_prompt)} fits are at work, one per prompt, but {n_prompts} prompts came in {n_rows} rows"
            )
        return fit_of_prompt.repeat_interleave(n_rows // n_prompts)

    def _edit(self, layer: int, projection: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Change what the heads of a layer hand to their output projection."""
        if layer not in self._edits:
            return None
        z = args[0]
        if z.ndim != 3:
            raise ModelError(
                f"the heads of layer {layer} write a tensor of shape {tuple(z.shape)}, not (row pos width)"
            )
        split = z.unflatten(-1, (self._heads_per_layer[layer], -1))
        for function in self._edits[layer]:
            split = function(split)
        self._waiting.discard(layer)
        return (split.flatten(-2), *args[1:])

    def _end(self, hf_model: Any, args: tuple[Any, ...], output: Any) -> None:
        """Forget the edits of this call; a layer that they did not reach is an error."""
        waiting, was_prompt = sorted(self._waiting), bool(self._edits)
        self._edits, self._waiting = {}, set()
        if output is None:  # the call ended in an error of its own
            return
        if waiting:
            raise ModelError(f"layers {waiting} computed attention without calling their output projection: not edited")
        self._acted = self._acted or was_prompt


def _is_row_pos(mask: object) -> bool:
    return isinstance(mask, Tensor) and mask.ndim == 2


def _refuse_right_padding(mask: Any, width: int) -> None:
    """Raise unless every prompt ends in its last column; masks of other shapes than (row pos) say nothing about it."""
    if _is_row_pos(mask) and mask.shape[1] >= width and not bool(mask[:, width - 1].all()):
        raise InputError("a prompt is padded on the right; pad on the left, with tokenizer.padding_side = 'left'")
