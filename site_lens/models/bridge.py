"""TransformerBridge behind the protocol."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.core.errors import InputError, ModelError
from site_lens.core.heads import HeadGrid
from site_lens.core.provenance import ModelIdentity
from site_lens.models.hooking import StopForward, editing, hooked, stop
from site_lens.models.prefix import CachePrefix
from site_lens.models.protocol import Batch, Edit, Prefix, left_mask
from site_lens.models.tokens import Encoder

HOOK = "blocks.{layer}.attn.hook_z"
"""Name of the hook point that carries z, (row pos head d_head)."""


class BridgeModel:
    """A `TransformerBridge` that follows the protocol `LensModel`; make one with `load_model` or `wrap_model`."""

    def __init__(self, bridge: Any, encoder: Encoder, identity: ModelIdentity) -> None:
        self.bridge = bridge
        self.encoder = encoder
        self.identity = identity
        self.device: torch.device = next(bridge.original_model.parameters()).device
        self._points = z_points(bridge)

    @property
    def grid(self) -> HeadGrid:
        """The heads of the model."""
        return self.identity.grid

    @torch.no_grad()
    def last_z(self, batch: Batch) -> Float[Tensor, "row layer head d_head"]:
        """Return z of every head at the last prompt token, float32; stops before the last layer's output."""
        found: dict[int, Tensor] = {}

        def keep(layer: int) -> Callable[[Tensor], None]:
            def hook(z: Tensor) -> None:
                found[layer] = z[:, -1].float().to(self.device)
                if layer == self.grid.n_layers - 1:
                    raise StopForward

            return hook

        self._run_until_stopped(
            [(layer, keep(layer)) for layer in self._points],
            input=batch.tokens,
            attention_mask=batch.mask(),
            position_ids=batch.positions(),
            use_cache=False,
        )
        return torch.stack([found[layer] for layer in range(self.grid.n_layers)], dim=1)

    @torch.no_grad()
    def prefill(self, *batches: Batch) -> CachePrefix:
        """Compute keys and values of all tokens of some batches; the last layer's output is never computed."""
        return CachePrefix.concat([self._prefill(batch) for batch in batches])

    def _prefill(self, batch: Batch) -> CachePrefix:
        from transformers import DynamicCache

        if batch.tokens.shape[1] == 0:
            raise InputError("a prefix needs at least one token before the tail; these prompts are one token long")
        cache = DynamicCache(config=self.bridge.original_model.config)
        self._run_until_stopped(
            [(self.grid.n_layers - 1, stop)],
            input=batch.tokens,
            attention_mask=batch.mask(),
            position_ids=batch.positions(),
            past_key_values=cache,
        )
        return CachePrefix(cache, batch.lengths, batch.tokens.shape[1])

    def _run_until_stopped(self, functions: list[tuple[int, Callable[[Tensor], None]]], **inputs: Any) -> None:
        with hooked(self._points, functions):
            try:
                self.bridge(**inputs, return_type=None)
            except StopForward:
                return

    def decode(
        self, prefix: Prefix, tail: Int[Tensor, "row tail"], edits: Sequence[Edit] = ()
    ) -> tuple[Float[Tensor, "row tail vocab"], CachePrefix]:
        """Run the tokens that follow a prefix; see `LensModel.decode`."""
        if not isinstance(prefix, CachePrefix):
            raise InputError(f"a {type(prefix).__name__} was made by another kind of model; prefill it with this one")
        cache, n_tail = prefix.view(), tail.shape[1]
        # The mask covers prefix and tail, and positions are explicit: a mask alone is not enough for absolute
        # positions under left padding (TransformerLens 3.x is off by 0.25 in GPT-2's logits).
        lengths, width = prefix.lengths + n_tail, prefix.width + n_tail
        # Padding on the right of a tail may lie beyond the context; its positions only have to exist.
        positions = prefix.lengths[:, None] + torch.arange(n_tail, device=tail.device)
        with hooked(self._points, [(edit.layer, editing(edit)) for edit in edits]):
            logits = self.bridge(
                tail,
                attention_mask=left_mask(lengths, width),
                position_ids=positions.clamp(max=self.encoder.n_ctx - 1),
                past_key_values=cache,
            )
        return logits.float(), CachePrefix(cache, lengths, width)

    def forward(self, batch: Batch, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Run whole prompts and return the logits at the last token, float32."""
        with hooked(self._points, [(edit.layer, editing(edit)) for edit in edits]):
            logits = self.bridge(
                batch.tokens,
                attention_mask=batch.mask(),
                position_ids=batch.positions(),
                use_cache=False,
                logits_to_keep=1,
            )
        last: Tensor = logits[:, -1].float()
        return last


def z_points(bridge: Any) -> dict[int, Any]:
    """Return the hook point that carries z, by layer.

    Raises:
        ModelError: A layer has none.
    """
    known = bridge.hook_dict
    missing = [HOOK.format(layer=i) for i in range(bridge.cfg.n_layers) if HOOK.format(layer=i) not in known]
    if missing:
        raise ModelError(
            f"{type(bridge).__name__} of {bridge.cfg.model_name} has no hook point {missing[0]} "
            f"({len(missing)} of {bridge.cfg.n_layers} layers lack it); head outputs cannot be read there"
        )
    return {layer: known[HOOK.format(layer=layer)] for layer in range(bridge.cfg.n_layers)}
