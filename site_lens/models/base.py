"""The base class of models: reading and editing activations, cached prefixes, stopping early."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.heads.head_set import Head, HeadGrid
from site_lens.models.batch import Batch, left_mask, left_positions
from site_lens.models.hooks import HOOK_NAMES, Edit, Function, HookPoint, StopForward, edit_hook, hooked, split_heads
from site_lens.models.identity import ModelIdentity
from site_lens.models.kv_cache import Prefix
from site_lens.models.locking import Guard, on_model, on_model_no_grad
from site_lens.models.plain_transformers import config_of
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError, ModelError, unknown_name

PATTERN_HOOK = "blocks.{layer}.attn.hook_pattern"
"""Name of the hook point that carries attention after the softmax, (row head query key)."""
IN_PLACE_OF_ATTENTION = ("blocks.{layer}.linear_attn.hook_out", "blocks.{layer}.conv.hook_out")
"""Names of the hook points that carry what a layer without attention adds in its place to the residual stream."""

LARGE = 50_000_000
"""Weights beyond which defaults cost less: one start, fewer prices and steps of a path, shared demonstrations."""


class LensModel(ABC):
    """A decoder whose per-head outputs z can be read and changed at `blocks.{l}.attn.hook_z`.

    Make one with `load_model` or `wrap_model`. A host is a subclass: it says how its kind of model is called
    (`_logits`), what writes z (`_write`), and what an empty cache is (`_empty_cache`).
    """

    known: Mapping[tuple[int, ...], Tensor] = MappingProxyType({})
    """Logits of prompts in plain transformers, computed before TransformerLens took the model over."""

    def __init__(self, host: Any, encoder: Encoder, identity: ModelIdentity) -> None:
        self.host = host
        """The TransformerLens model."""
        self.encoder = encoder
        self.identity = identity
        self.device: torch.device = next(host.parameters()).device
        self.hook_points: dict[str, Any] = dict(host.hook_dict)  # which the bridge builds anew at each look
        """Hook points of the host by their TransformerLens names."""
        self._guard = Guard(host, lock_point(host), identity.name)
        self._cuda_graphs = False

    @abstractmethod
    def _logits(
        self,
        tokens: Int[Tensor, "row new"],
        mask: Int[Tensor, "row pos"],
        positions: Int[Tensor, "row new"],
        cache: Any | None,
        last_only: bool,
    ) -> Float[Tensor, "row new vocab"]:
        """Pass the last columns of left-padded prompts; the new keys and values go into the cache.

        Args:
            tokens: Tokens of the new columns.
            mask: 1 for tokens and 0 for padding, of all columns, old and new.
            positions: Position of each new token in its prompt, from 0. Padding behind a tail may lie beyond the
                context; any position will do for it.
            cache: Keys and values of the old columns in a Hugging Face cache; None without any.
            last_only: Whether only the logits of the last column are needed.
        """

    @abstractmethod
    def _write(self, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row d_model"]:
        """Return z through W_O, with its bias where the model adds one."""

    @abstractmethod
    def _empty_cache(self, n_rows: int) -> Any:
        """Return a Hugging Face cache without a column."""

    @property
    def grid(self) -> HeadGrid:
        """The heads of the model."""
        return self.identity.grid

    @property
    def model_type(self) -> str:
        """Name of its family in `transformers`, such as llama; its class where no such model is underneath."""
        return str(getattr(config_of(self.host), "model_type", self.identity.architecture))

    @property
    def n_weights(self) -> int:
        """Number of weights, as they are stored."""
        return sum(parameter.numel() for parameter in self.host.parameters())

    @property
    def is_large(self) -> bool:
        """Whether it has more than 50 million weights (`LARGE`), so that defaults are those that cost less."""
        return self.n_weights > LARGE

    @property
    def hooks_needed(self) -> str:
        """Reason for which no pass is hook-free; empty where those behind a prefix, and reads of z, can be."""
        return f"a {type(self.host).__name__} has no modules of transformers to stand in"

    @property
    def cuda_graphs(self) -> bool:
        """Whether fits record their training passes as CUDA graphs; False unless set, `model.cuda_graphs = True`.

        They have not been run on a GPU yet: compare the alphas of one fit with and without. A pass that cannot be
        recorded runs as it is, with a warning; so do those of gates at all tokens, which have no prefix, without one.

        Raises:
            InputError: On setting: the model is not on one GPU.
        """
        return self._cuda_graphs

    @cuda_graphs.setter
    def cuda_graphs(self, wanted: bool) -> None:
        devices = sorted({str(parameter.device) for parameter in self.host.parameters()})
        if wanted and (len(devices) > 1 or self.device.type != "cuda"):
            raise InputError(f"CUDA graphs need a model on one GPU; {self.identity.name} is on {', '.join(devices)}")
        self._cuda_graphs = wanted

    def locked(self) -> AbstractContextManager[None]:
        """Lock the model for this thread for as long as the context lasts; every method does so itself.

        Raises:
            ModelError: Other hooks are on the model, or it is not what it was when it was wrapped; see `Guard`.
        """
        return self._guard.locked()

    @property
    def kept(self) -> dict[str, Any]:
        """Cache that calls share until the outermost one ends; who changes the model inside a call must clear it."""
        return self._guard.kept

    def plain_logits(self, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Return the logits at the last token of a prompt as plain transformers computes them, float32.

        Raises:
            ModelError: There is no plain model; the message says why.
        """
        if tuple(prompt) not in self.known:
            raise ModelError(f"a {type(self.host).__name__} has no transformers model beside it")
        return self.known[tuple(prompt)].to(self.device)

    @on_model_no_grad
    def last_z(self, batch: Batch) -> Float[Tensor, "row layer head d_head"]:
        """Return z of every head at the last prompt token, float32; computes no logits.

        Zeros stand where a layer has no head, and beyond the width of its heads where layers differ.
        """
        outputs = self._last(batch, "z")
        z = torch.zeros(len(batch), *self.grid.shape, self.identity.d_head, device=self.device)
        for layer, output in outputs.items():
            z[:, layer, : output.shape[1], : output.shape[2]] = output
        return z

    @on_model_no_grad
    def last_outputs(self, batch: Batch, hook_point: HookPoint) -> Float[Tensor, "row layer d_model"]:
        """Return the activation at a hook point other than z of every layer at the last prompt token, float32.

        `attn_out` of a layer without attention is what stands in its place: a convolution or linear attention.

        Raises:
            ModelError: The model has no such hook point.
        """
        if hook_point == "z":
            raise InputError("z has heads; read it with last_z")
        if hook_point not in HOOK_NAMES:
            raise unknown_name("hook point", hook_point, HOOK_NAMES)
        return torch.stack([*self._last(batch, hook_point).values()], dim=1)

    def _last(self, batch: Batch, hook_point: HookPoint) -> dict[int, Float[Tensor, "row ..."]]:
        """Return what passes a hook point at the last prompt token, by layer."""
        layers = [layer for layer, n in enumerate(self.grid.heads_per_layer) if n or hook_point != "z"]
        outputs: dict[int, Tensor] = {}

        def see(point: str, layer: int, activation: Tensor) -> bool:
            outputs[layer] = activation[:, -1].float().to(self.device)
            return layer == layers[-1]

        self._watch(batch, [(hook_point, layer) for layer in layers], see)
        return outputs

    def _watch(self, batch: Batch, points: Sequence[tuple[str, int]], see: Callable[[str, int, Tensor], bool]) -> None:
        """Run prompts and show a function what passes hook points of layers; where it returns True, the pass ends."""

        def watch(point: str, layer: int, activation: Tensor) -> None:
            if point == "z":
                activation = split_heads(activation, self.grid.heads_per_layer[layer])
            if see(point, layer, activation):
                raise StopForward

        functions = [(self._point(*place), partial(watch, *place)) for place in points]
        with self._hooked(functions), suppress(StopForward):
            self._run(batch.tokens, batch.lengths, last_only=True)

    @on_model_no_grad
    def project(
        self, layer: int, z: Float[Tensor, "row head d_head"], *, bias: bool = False
    ) -> Float[Tensor, "row d_model"]:
        """Return what heads with these outputs write together, float32: z through W_O, with or without its bias.

        Where layers differ in the width of their heads, what is beyond that of the layer is left out.
        Models that normalise behind attention (Gemma 2 and 3, OLMo 2) add something else to the residual stream.

        Raises:
            InputError: The layer has no heads.
        """
        if not self.grid.heads_per_layer[layer]:
            raise InputError(f"layer {layer} of {self.identity.name} has no attention heads")
        z = z[..., : self.identity.widths[layer]]
        # Zeros through W_O give the bias alone; this way quantised weights need not be read.
        written = self._write(layer, torch.cat([z, torch.zeros_like(z[:1])]).to(self.device)).float().to(self.device)
        return written[:-1] if bias else written[:-1] - written[-1]

    @on_model_no_grad
    def attention(self, batch: Batch, heads: Sequence[Head]) -> Float[Tensor, "row head query key"]:
        """Return the attention of some heads after the softmax, float32, in the order of the heads.

        Raises:
            ModelError: The model does not compute its attention at a hook point.
        """
        patterns: dict[int, Tensor] = {}
        layers = {head.layer for head in heads}
        self.read_attention(batch, layers, lambda layer, pattern, z: patterns.update({layer: pattern}))
        return torch.stack([patterns[head.layer][:, head.head] for head in heads], dim=1)

    @on_model_no_grad
    def read_attention(
        self, batch: Batch, layers: Collection[int], visit: Callable[[int, Tensor, Tensor], None]
    ) -> None:
        """Hand attention and z of some layers to a function, layer after layer, so that none has to be kept.

        Args:
            batch: The prompts; nothing behind the last of the layers is computed.
            layers: Layers with heads.
            visit: Takes a layer, its attention after the softmax, (row head query key), and its z, (row pos head
                d_head), float32 both. Rows of padding hold no meaning.

        Raises:
            ModelError: The model does not compute its attention at a hook point.
        """
        seen: dict[int, dict[str, Tensor]] = {layer: {} for layer in sorted(layers)}

        def see(point: str, layer: int, activation: Tensor) -> bool:
            seen[layer][point] = activation.float().to(self.device)
            if len(seen[layer]) == 2:  # hosts differ in which of them comes first
                parts = seen.pop(layer)
                visit(layer, parts["pattern"], parts["z"])
            return not seen

        self._watch(batch, [(point, layer) for layer in seen for point in ("pattern", "z")], see)
        if seen:
            raise ModelError(f"layer {min(seen)} of {self.identity.name} computed its attention without showing it")

    @on_model_no_grad
    def prefill(self, *batches: Batch, edits: Sequence[Edit] = ()) -> Prefix:
        """Compute keys and values of all tokens of some batches, without gradients and without logits.

        Their rows stand below each other in the prefix, in order. Edits act on every batch.
        """
        if any(batch.tokens.shape[1] == 0 for batch in batches):
            raise InputError("a prefix needs at least one token before the tail; these prompts are one token long")
        grown = [self._grown(self.empty_prefix(len(each)), each.tokens, each.lengths, edits) for each in batches]
        return Prefix.concat(grown)

    def empty_prefix(self, n_rows: int) -> Prefix:
        """Return a prefix without a token, for prompts of which nothing stands before the tail."""
        return Prefix(self._empty_cache(n_rows), torch.zeros(n_rows, dtype=torch.long, device=self.device), 0)

    @on_model_no_grad
    def extend(self, prefix: Prefix, tokens: Int[Tensor, "row new"], edits: Sequence[Edit] = ()) -> Prefix:
        """Compute keys and values of tokens that follow a prefix, without gradients and without logits.

        No row is padded: padding may stand before the first token of a prompt only.

        Raises:
            ModelError: The model's code writes into the states of the prefix.
        """
        return self._grown(prefix, tokens, tokens.shape[1], edits)

    def _grown(self, prefix: Prefix, tokens: Tensor, n_new: Tensor | int, edits: Sequence[Edit]) -> Prefix:
        def stop(activation: Tensor) -> None:
            raise StopForward

        last = (self._point("z" if self.grid.heads_per_layer[-1] else "residual", self.grid.n_layers - 1), stop)
        return self._behind(prefix, prefix.view(), tokens, n_new, [*self._functions(edits), last])[1]

    def _behind(
        self, prefix: Prefix, cache: Any, tokens: Tensor, n_new: Tensor | int, functions: list[tuple[Any, Function]]
    ) -> tuple[Float[Tensor, "row new vocab"], Prefix]:
        """Run tokens behind a prefix and return their logits, none if a function ends the pass, and the grown prefix.

        Args:
            prefix: The prefix.
            cache: A view of it.
            tokens: The tokens.
            n_new: How many of each row are no padding.
            functions: Functions on hook points.
        """
        lengths, logits = prefix.lengths + n_new, torch.empty(0)
        with self._hooked(functions), suppress(StopForward):
            logits = self._run(tokens, lengths, cache, n_old=prefix.width)
        if prefix.was_written_into():
            raise ModelError(
                f"{self.identity.name} keeps recurrent states that its own code ({self.identity.architecture}) changes "
                "in place, which spoils cached prefixes and stops gradients; such models are not supported"
            )
        return logits.float().to(self.device), Prefix(cache, lengths, prefix.width + tokens.shape[1])

    @on_model
    def decode(
        self, prefix: Prefix, tail: Int[Tensor, "row tail"], edits: Sequence[Edit] = ()
    ) -> tuple[Float[Tensor, "row tail vocab"], Prefix]:
        """Run the tokens that follow a prefix, and return their logits (float32) and the grown prefix.

        A tail may be padded on the right: later tokens never change earlier logits.

        Raises:
            ModelError: The model's code writes into the states of the prefix.
        """
        return self._behind(prefix, prefix.two_part_view(), tail, tail.shape[1], self._functions(edits))

    @on_model
    def forward(self, batch: Batch, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Run whole prompts and return the logits at the last token, float32: the plain path, without a cache."""
        with hooked(self._functions(edits)):
            logits = self._run(batch.tokens, batch.lengths, last_only=True)
        return logits[:, -1].float().to(self.device)

    def _run(
        self,
        tokens: Int[Tensor, "row new"],
        lengths: Int[Tensor, " row"],
        cache: Any | None = None,
        *,
        n_old: int = 0,
        last_only: bool = False,
    ) -> Float[Tensor, "row new vocab"]:
        """Pass the columns behind the `n_old` first ones; `lengths` counts the tokens of old and new columns."""
        width = n_old + tokens.shape[1]
        if width > self.encoder.n_ctx:  # of a tail, all but the first token may be padding
            self.encoder.refuse_longer(int(lengths.max()) - (tokens.shape[1] - 1 if n_old else 0))
        positions = left_positions(lengths, width)[:, n_old:]
        return self._logits(tokens, left_mask(lengths, width), positions, cache, last_only)

    @contextmanager
    def _hooked(self, functions: Sequence[tuple[Any, Function]]) -> Iterator[None]:
        """Add functions to hook points for the passes of a context; those without one may be passed by."""
        with hooked(functions):
            yield

    def _functions(self, edits: Sequence[Edit]) -> list[tuple[Any, Function]]:
        if strange := [edit.hook_point for edit in edits if edit.hook_point not in HOOK_NAMES]:
            raise unknown_name("hook point", strange[0], HOOK_NAMES)
        heads, d_head = self.grid.heads_per_layer, self.identity.d_head
        return [(self._point(e.hook_point, e.layer), edit_hook(e, heads[e.layer], d_head)) for e in edits]

    def _point(self, hook_point: str, layer: int) -> Any:
        """Return a hook point of a layer: one of `HookPoint`, or "pattern"."""
        known = {**HOOK_NAMES, "pattern": PATTERN_HOOK}
        instead = IN_PLACE_OF_ATTENTION if hook_point == "attn_out" else ()
        names = [name.format(layer=layer) for name in (known[hook_point], *instead)]
        if shown := [name for name in names if name in self.hook_points]:
            return self.hook_points[shown[0]]
        what = "its attention" if hook_point == "pattern" else f"the {hook_point} of layer {layer}"
        raise ModelError(f"{self.identity.name} does not show {what} ({names[0]} is missing)")


def z_points(host: Any) -> dict[int, Any]:
    """Return the hook points that carry z, by layer; layers without attention are left out.

    Raises:
        ModelError: No layer has any, or a layer has attention whose z cannot be hooked.
    """
    points, layers = host.hook_dict, range(host.cfg.n_layers)
    found = {i: points[name] for i in layers if (name := HOOK_NAMES["z"].format(layer=i)) in points}
    attending = {i for i in layers if any(name.startswith(f"blocks.{i}.attn.") for name in points)}
    if missing := sorted(attending - set(found)) or ([] if found else list(layers)):
        raise ModelError(
            f"{len(missing)} of the {host.cfg.n_layers} layers of {host.cfg.model_name} have no attention heads that "
            f"{type(host).__name__} can hook ({HOOK_NAMES['z'].format(layer=missing[0])} is missing); such models are "
            "not supported"
        )
    return found


def lock_point(host: Any) -> Any:
    """Return the hook point that stands for a model where it is locked: that of its first z."""
    return next(iter(z_points(host).values()))
