"""Fits at work in plain Hugging Face models: under `generate`, with cache, sampling and beams."""

import functools
import inspect
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from jaxtyping import Int
from torch import Tensor, nn

from site_lens.activations.hf_models import find_projections, plain_identity
from site_lens.activations.injection import injection
from site_lens.models.hooks import edit_hook
from site_lens.records.errors import InputError, ModelError
from site_lens.records.terminal_escape import visible
from site_lens.site.fit_table import FitTable
from site_lens.site.fit_table import Fitted as Fitted

_AT_WORK: "weakref.WeakKeyDictionary[nn.Module, _Work]" = weakref.WeakKeyDictionary()
_attaching = threading.Lock()


def attach(hf_model: Any, fits: Fitted | Sequence[Fitted | None], *, tokenizer: Any | None = None) -> "Deployment":
    """Put a fit to work in a plain `transformers` model until it is removed.

    The edit acts once, on the last prompt token, in every layer at the input of the attention's output projection;
    from there the KV cache carries it on. Under `generate` the last prompt token is that of the inputs, whatever the
    decoding: greedy, sampling, beams, with a cache or without. A bare call of the model is taken as whole prompts when
    it comes without a cache, and as a continuation, which is left alone, when it comes with a filled one. Several
    threads may call the model at once. While a fit is at work the model can be saved, but not copied or pickled.

    Args:
        hf_model: A decoder loaded with `AutoModelForCausalLM`; its weights are not touched.
        fits: One fit for all prompts, or a list with one fit, or None for no edit, per prompt.
        tokenizer: The tokenizer that makes the prompts, to be compared with the one of the fit.

    Returns:
        The handle, to be kept: `handle.remove()` puts the model back as it was, and so does, with a warning, throwing
        the handle away.

    Raises:
        InputError: It is no such model, there are no fits, or a fit is at work in it already.
        MismatchError: A fit belongs to a model of other heads, or of weights processed in another way.
        ModelError: The model has no output projection that is known here; the message names what was found.

    Warns:
        UserWarning: Weights, number format, tokenizer or BOS differ from those of the fit; later, that the handle was
            thrown away.

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
        >>> from site_lens.tasks.demo_tasks import DEMO_MODEL
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


@dataclass(frozen=True, slots=True)
class _Prompts:
    """The prompts of one `generate` call."""

    n: int
    width: int
    """Columns, padding included; the last prompt token stands in the last of them."""


class Deployment:
    """A fit at work in a plain model for as long as this is kept; made by `attach` and `deploy`."""

    differences: tuple[str, ...]
    """What differs between this model and that of each fit, without making the use wrong."""
    uncompared: tuple[str, ...]
    """What could not be compared."""

    def __init__(self, hf_model: Any, fits: Fitted | Sequence[Fitted | None], tokenizer: Any | None) -> None:
        with _attaching:
            self._work = _Work(hf_model, fits, tokenizer)
        self.differences, self.uncompared = self._work.compared
        self._thrown_away = weakref.finalize(self, _take_out, self._work)
        self._thrown_away.atexit = False

    def remove(self) -> None:
        """Put the model back as it was; a second call does nothing."""
        self._thrown_away.detach()
        self._work.remove()


def _take_out(work: "_Work") -> None:
    work.remove()
    warnings.warn(
        "the handle of a fit at work was thrown away, so the fit was taken out of the model; keep what attach returns "
        "for as long as the fit is to work, or use deploy",
        UserWarning,
        stacklevel=2,
    )


class _Now(threading.local):
    """What one thread has the model do."""

    def __init__(self) -> None:
        self.prompts: _Prompts | None = None
        self.acted = False
        """Whether the last prompt token has passed."""
        self.edits: dict[int, list[Callable[[Tensor], Tensor]]] = {}
        """Edits of the call, by layer."""
        self.waiting: set[int] = set()
        """Layers that they have not reached yet."""


class _Work:
    """What hangs on a model while a fit is at work in it; nothing of it belongs to a single call."""

    def __init__(self, hf_model: Any, fits: Fitted | Sequence[Fitted | None], tokenizer: Any | None) -> None:
        projections = find_projections(hf_model)
        if hf_model in _AT_WORK:
            raise InputError("a fit is at work in this model already; remove it first, or give a list with one per row")
        self._model = hf_model
        self._table = FitTable(fits, next(hf_model.parameters()).device)
        self.compared = self._check(projections, tokenizer)
        self._heads_per_layer = self._table.parts[0][0].grid.heads_per_layer
        self._signature = inspect.signature(hf_model.forward)
        self._now = _Now()
        self._hooks = [
            hf_model.register_forward_pre_hook(self._begin, with_kwargs=True),
            hf_model.register_forward_hook(self._end, always_call=True),
            *(m.register_forward_pre_hook(functools.partial(self._edit, layer)) for layer, m in projections.items()),
        ]
        self._own_generate, self._plain_generate = vars(hf_model).get("generate"), hf_model.generate
        self._replacement = functools.update_wrapper(functools.partial(self._generate), hf_model.generate)
        hf_model.generate = self._replacement
        _AT_WORK[hf_model] = self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise InputError(
            "a model with a fit at work cannot be copied or pickled; do so outside of deploy or after handle.remove(), "
            "or save its weights with save_pretrained"
        )

    def remove(self) -> None:
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if hooks:
            del _AT_WORK[self._model]
        if vars(self._model).get("generate") is self._replacement:  # unless somebody has put theirs around it
            del self._model.generate
            if self._own_generate is not None:
                self._model.generate = self._own_generate

    def _check(
        self, projections: dict[int, nn.Module], tokenizer: Any | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        differing: dict[str, None] = {}
        skipped: dict[str, None] = {}
        for _, embedding in self._table.parts:
            identity, uncompared = plain_identity(self._model, projections, like=embedding.model, tokenizer=tokenizer)
            differing |= dict.fromkeys(identity.check_use(embedding.model, f"the embedding of {embedding.task!r}"))
            skipped |= dict.fromkeys(uncompared)
        return tuple(differing), tuple(skipped)

    # What happens around calls of the model

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks:  # removed, and called through what somebody put around it
            return self._plain_generate(*args, **kwargs)
        given = inspect.signature(self._plain_generate).bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        names = ("inputs_embeds", "input_ids", "inputs")
        prompts = next((given[name] for name in names if given.get(name) is not None), None)
        if prompts is None:
            raise InputError("generate needs prompts here (input_ids or inputs_embeds): their last token is edited")
        _refuse_right_padding(given.get("attention_mask"), prompts.shape[1])
        now, around = self._now, (self._now.prompts, self._now.acted)
        now.prompts, now.acted = _Prompts(prompts.shape[0], prompts.shape[1]), False
        try:
            made, acted = self._plain_generate(*args, **kwargs), now.acted
        finally:
            now.prompts, now.acted = around
        if not acted:
            raise ModelError(
                "generate never passed the last prompt token through the model, so nothing was edited; was it in the "
                "cache already?"
            )
        return made

    def _begin(self, hf_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find out whether the last prompt token passes in this call, and in which column."""
        prompts = self._now.prompts
        self._now.edits, self._now.waiting = {}, set()  # an interrupted call may have left some
        given = self._signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        tokens = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
        cache, mask = given.get("past_key_values"), given.get("attention_mask")
        n_old = 0 if cache is None else int(cache.get_seq_length())
        if prompts is None and n_old:
            return
        width = tokens.shape[1] if prompts is None else prompts.width
        column = width - 1 - n_old
        if not 0 <= column < tokens.shape[1]:
            return
        if prompts is None and mask is not None and not _is_row_pos(mask):
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
                function = edit_hook(edit, self._heads_per_layer[edit.layer])
                self._now.edits.setdefault(edit.layer, []).append(function)
        self._now.waiting = set(self._now.edits)

    def _fit_of_row(self, n_rows: int) -> Int[Tensor, " #row"]:
        """Which fit each row of a call uses; beams and several sequences a prompt stand below each other."""
        fit_of_prompt = self._table.fit_of_prompt
        if self._table.one_for_all:
            return fit_of_prompt
        n_prompts = n_rows if self._now.prompts is None else self._now.prompts.n
        if n_prompts != len(fit_of_prompt) or n_rows % n_prompts:
            raise InputError(
                f"{len(fit_of_prompt)} fits are at work, one per prompt, but {n_prompts} prompts came in {n_rows} rows"
            )
        return fit_of_prompt.repeat_interleave(n_rows // n_prompts)

    def _edit(self, layer: int, projection: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Change what the heads of a layer hand to their output projection."""
        edits = self._now.edits.get(layer)
        if edits is None:
            return None
        z = args[0]
        if z.ndim != 3:
            raise ModelError(
                f"the heads of layer {layer} write a tensor of shape {tuple(z.shape)}, not (row pos width)"
            )
        split = z.unflatten(-1, (self._heads_per_layer[layer], -1))
        for function in edits:
            split = function(split)
        self._now.waiting.discard(layer)
        return (split.flatten(-2), *args[1:])

    def _end(self, hf_model: Any, args: tuple[Any, ...], output: Any) -> None:
        """Forget the edits of this call; a layer that they did not reach is an error."""
        waiting, was_prompt = sorted(self._now.waiting), bool(self._now.edits)
        self._now.edits, self._now.waiting = {}, set()
        if output is None:  # the call ended in an error of its own
            return
        if waiting:
            raise ModelError(f"layers {waiting} computed attention without calling their output projection: not edited")
        self._now.acted = self._now.acted or was_prompt


def _is_row_pos(mask: object) -> bool:
    return isinstance(mask, Tensor) and mask.ndim == 2


def _refuse_right_padding(mask: Any, width: int) -> None:
    """Raise unless every prompt ends in its last column; masks of other shapes than (row pos) say nothing about it."""
    if _is_row_pos(mask) and mask.shape[1] >= width and not bool(mask[:, width - 1].all()):
        raise InputError("a prompt is padded on the right; pad on the left, with tokenizer.padding_side = 'left'")
