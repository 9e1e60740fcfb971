"""What the classes that TransformerLens hooks a model with have in common: z, columns, prefixes, stopping early."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.heads.head_set import Head, HeadGrid
from site_lens.models.hooks import Function, StopForward, editing, hooked, split_heads, stop
from site_lens.models.identity import ModelIdentity
from site_lens.models.kv_cache import CachePrefix
from site_lens.models.locking import Guard, on_model
from site_lens.models.protocol import Batch, Edit, HookPoint, Prefix, left_mask, left_positions
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError, ModelError

HOOK = "blocks.{layer}.attn.hook_z"
"""Name of the hook point that carries z, (row pos head d_head)."""

HOOK_NAMES: dict[HookPoint, str] = {
    "z": HOOK,
    "attn_out": "blocks.{layer}.hook_attn_out",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "residual": "blocks.{layer}.hook_resid_post",
}
"""Names of the hook points of all sites."""

PATTERN_HOOK = "blocks.{layer}.attn.hook_pattern"
"""Name of the hook point that carries attention after the softmax, (row head query key)."""


@dataclass(frozen=True, slots=True)
class Call:
    """The last columns of left-padded prompts, to be passed through a model."""

    tokens: Int[Tensor, "row new"]
    mask: Int[Tensor, "row pos"]
    """1 for tokens and 0 for padding, of all columns, old and new."""
    positions: Int[Tensor, "row new"]
    """Place of each new token in its prompt, from 0.

    Padding behind a tail may lie beyond the context; any place will do for it.
    """
    cache: Any | None
    """Keys and values of the old columns in a Hugging Face cache; None without any."""
    last_only: bool
    """Whether the logits of the last column are all that is wanted."""


class HostModel(ABC):
    """A TransformerLens model that follows the protocol `LensModel`; make one with `load_model` or `wrap_model`.

    Subclasses say how their kind of model is called and what an empty cache is.
    """

    def __init__(self, host: Any, encoder: Encoder, identity: ModelIdentity) -> None:
        self.host = host
        """The TransformerLens model."""
        self.encoder = encoder
        self.identity = identity
        self.device: torch.device = next(host.parameters()).device
        self._hook_points: dict[str, Any] = dict(host.hook_dict)  # which the bridge builds anew at each look
        points = z_points(host)  # refuses a model without heads in some layer
        self._guard = Guard(host, points[0], identity.name)

    @abstractmethod
    def _logits(self, call: Call) -> Float[Tensor, "row new vocab"]:
        """Call the model; the new keys and values go into the cache."""

    @abstractmethod
    def _write(self, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row d_model"]:
        """Return z through W_O, with its bias where the model adds one."""

    @abstractmethod
    def _empty_cache(self, n_rows: int) -> Any:
        """Return a Hugging Face cache without a column."""

    known: Mapping[tuple[int, ...], Tensor] = MappingProxyType({})
    """Logits of prompts in plain transformers, computed before TransformerLens took the model over."""

    def plain_logits(self, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Return the logits of plain transformers at the last token; see `LensModel.plain_logits`."""
        if tuple(prompt) not in self.known:
            raise ModelError(f"a {type(self.host).__name__} has no transformers model beside it")
        return self.known[tuple(prompt)].to(self.device)

    @property
    def grid(self) -> HeadGrid:
        """The heads of the model."""
        return self.identity.grid

    def locked(self) -> AbstractContextManager[None]:
        """Lock the model for this thread, and look whether it still is what was wrapped; see `Guard.locked`."""
        return self._guard.locked()

    @on_model
    @torch.no_grad()
    def last_z(self, batch: Batch) -> Float[Tensor, "row layer head d_head"]:
        """Return z of every head at the last prompt token, float32; stops before the last layer's output."""
        found: dict[int, Tensor] = {}

        def keep(layer: int) -> Function:
            def hook(z: Tensor) -> None:
                found[layer] = split_heads(z[:, -1], self.grid.heads_per_layer[layer]).float().to(self.device)
                if layer == self.grid.n_layers - 1:
                    raise StopForward

            return hook

        layers = range(self.grid.n_layers)
        self._run_until_stopped(batch, [(self._point("z", layer), keep(layer)) for layer in layers])
        return torch.stack([found[layer] for layer in layers], dim=1)

    @on_model
    @torch.no_grad()
    def last_outputs(self, batch: Batch, hook_point: HookPoint) -> Float[Tensor, "row layer d_model"]:
        """Return what stands at a hook point at the last prompt token, float32; see `LensModel.last_outputs`."""
        if hook_point == "z":
            raise InputError("z has heads; read it with last_z")
        found: dict[int, Tensor] = {}

        def keep(layer: int) -> Function:
            def hook(passing: Tensor) -> None:
                found[layer] = passing[:, -1].float().to(self.device)

            return hook

        layers = range(self.grid.n_layers)
        with hooked((self._point(hook_point, layer), keep(layer)) for layer in layers):
            self._run(batch.tokens, batch.lengths, last_only=True)
        return torch.stack([found[layer] for layer in layers], dim=1)

    @on_model
    @torch.no_grad()
    def project(
        self, layer: int, z: Float[Tensor, "row head d_head"], *, bias: bool = False
    ) -> Float[Tensor, "row d_model"]:
        """Return z through W_O, float32; see `LensModel.project`."""
        # Of zeros the bias alone is left; this way quantised weights need not be read.
        given = torch.cat([z, torch.zeros_like(z[:1])]).to(self.device)
        written = self._write(layer, given).float().to(self.device)
        return written[:-1] if bias else written[:-1] - written[-1]

    @on_model
    @torch.no_grad()
    def attention(self, batch: Batch, heads: Sequence[Head]) -> Float[Tensor, "row head query key"]:
        """Return the attention of some heads after the softmax, float32; see `LensModel.attention`."""
        layers = sorted({head.layer for head in heads})
        found: dict[int, Tensor] = {}

        def keep(layer: int) -> Function:
            def hook(pattern: Tensor) -> None:
                found[layer] = pattern.float().to(self.device)

            return hook

        with hooked([(self._hook_point(PATTERN_HOOK, layer, "its attention"), keep(layer)) for layer in layers]):
            self._run(batch.tokens, batch.lengths, last_only=True)
        silent = [layer for layer in layers if layer not in found]
        if silent:
            raise ModelError(f"layer {silent[0]} of {self.identity.name} computed its attention without showing it")
        return torch.stack([found[head.layer][:, head.head] for head in heads], dim=1)

    @on_model
    @torch.no_grad()
    def prefill(self, *batches: Batch, edits: Sequence[Edit] = ()) -> CachePrefix:
        """Compute keys and values of all tokens of some batches; the last layer's output is never computed."""
        return CachePrefix.concat([self._prefill(batch, edits) for batch in batches])

    def _prefill(self, batch: Batch, edits: Sequence[Edit]) -> CachePrefix:
        if batch.tokens.shape[1] == 0:
            raise InputError("a prefix needs at least one token before the tail; these prompts are one token long")
        cache = self._empty_cache(len(batch))
        last = self.grid.n_layers - 1
        self._run_until_stopped(batch, [*self._functions(edits), (self._point("z", last), stop)], cache)
        return CachePrefix(cache, batch.lengths, batch.tokens.shape[1])

    def _run_until_stopped(self, batch: Batch, functions: list[tuple[Any, Function]], cache: Any | None = None) -> None:
        with hooked(functions):
            try:
                self._run(batch.tokens, batch.lengths, cache)
            except StopForward:
                return

    @on_model
    def decode(
        self, prefix: Prefix, tail: Int[Tensor, "row tail"], edits: Sequence[Edit] = ()
    ) -> tuple[Float[Tensor, "row tail vocab"], CachePrefix]:
        """Run the tokens that follow a prefix; see `LensModel.decode`."""
        if not isinstance(prefix, CachePrefix):
            raise InputError(f"a {type(prefix).__name__} was made by another kind of model; prefill it with this one")
        cache, lengths = prefix.view(), prefix.lengths + tail.shape[1]
        with hooked(self._functions(edits)):
            logits = self._run(tail, lengths, cache, n_old=prefix.width)
        return logits.float().to(self.device), CachePrefix(cache, lengths, prefix.width + tail.shape[1])

    @on_model
    def forward(self, batch: Batch, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Run whole prompts and return the logits at the last token, float32."""
        with hooked(self._functions(edits)):
            logits = self._run(batch.tokens, batch.lengths, last_only=True)
        last: Tensor = logits[:, -1].float().to(self.device)
        return last

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
        return self._logits(Call(tokens, left_mask(lengths, width), positions, cache, last_only))

    def _functions(self, edits: Sequence[Edit]) -> list[tuple[Any, Function]]:
        heads = self.grid.heads_per_layer
        return [(self._point(edit.hook_point, edit.layer), editing(edit, heads[edit.layer])) for edit in edits]

    def _point(self, hook_point: HookPoint, layer: int) -> Any:
        return self._hook_point(HOOK_NAMES[hook_point], layer, f"the {hook_point} of its layers")

    def _hook_point(self, name: str, layer: int, what: str) -> Any:
        name = name.format(layer=layer)
        if name not in self._hook_points:
            raise ModelError(f"{self.identity.name} does not show {what} ({name} is missing)")
        return self._hook_points[name]


def z_points(host: Any) -> dict[int, Any]:
    """Return the hook point that carries z, by layer.

    Raises:
        ModelError: A layer has none.
    """
    known = host.hook_dict
    missing = [HOOK.format(layer=i) for i in range(host.cfg.n_layers) if HOOK.format(layer=i) not in known]
    if missing:
        raise ModelError(
            f"{len(missing)} of the {host.cfg.n_layers} layers of {host.cfg.model_name} have no attention heads that "
            f"{type(host).__name__} can hook ({missing[0]} is missing); such models are not supported"
        )
    return {layer: known[HOOK.format(layer=layer)] for layer in range(host.cfg.n_layers)}
