"""Identity of the model behind a record: name, state of the weights, digests, and versions of libraries."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Frozen, leaves_out
from site_lens.records.errors import MismatchError

Processing = Literal["raw", "folded"]
"""`raw`: the checkpoint's own weights. `folded`: TransformerLens' processed weights (compatibility mode,
HookedTransformer's default), whose value biases sit in b_O, so that z differs from the raw z by b_V."""


WEIGHTS_FROM = "site_lens_weights_from"
"""Field of the config.json of a converted checkpoint that says what its weights were made from."""


PARTS = {
    "heads": "grid", "width of heads": "widths", "weight processing": "processing", "weights": "weights_digest",
    "dtype": "dtype", "quantisation": "quantization", "BOS": "bos",
}  # fmt: skip
"""Parts in which models may differ, beside the tokenizer, and the fields of an identity that say so."""
SMALL_PARTS = ("weights", "dtype", "quantisation", "tokenizer", "BOS")
"""Parts of a model that may differ between making a record and using it: that is noted, and no error."""
FORMATS = ("dtype", "quantisation")
"""Parts that change the arithmetic, and not the model."""


def widths_if_ragged(widths: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the width of the heads of each layer if there are several; layers without heads have 0."""
    return widths if len({width for width in widths if width}) > 1 else None


class ModelIdentity(Frozen):
    """Identity of a model, cheap to compute for 70B weights."""

    name: str
    architecture: str
    host: str
    """Class that was hooked, such as TransformerBridge."""
    grid: HeadGrid
    d_head: int
    """Width of z a head; of the widest heads where layers differ."""
    dtype: str
    processing: Processing
    value_bias: bool
    """Whether the attention layers add a non-zero value bias to z as they stand."""
    bos: bool
    """Whether prompts begin with the BOS token."""
    weights_digest: str
    """Digest of the shapes of all weights and of a few sampled numbers of each, in float32."""
    tokenizer_digest: str
    """Digest of what the tokenizer makes of a probe text."""
    revision: str | None = None
    n_kv_heads: int | None = Field(None, ge=1)
    """Key-value heads of every layer with attention, where they are fewer than its heads: head h reads from number
    h // (n_heads / n_kv_heads). None where each head has its own, where layers differ, and where it is not known."""

    d_head_per_layer: tuple[int, ...] | None = None
    """Width of the heads of each layer, where layers differ (Gemma 4); 0 without heads. Arrays (layer head d_head) hold
    zeros beyond it. None where all heads are `d_head` wide."""

    quantization: str | None = None
    """How the weights are quantised (nf4, int8, gptq, ...); None if they are not. `dtype` is that of the rest."""

    weights_from: str | None = None
    """What the weights were made from, such as "GGUF (Q4_1, F32), dequantised"; None for a checkpoint's own weights."""

    @model_validator(mode="after")
    def _width_of_every_layer(self) -> Self:
        widths = self.widths
        if len(widths) != self.grid.n_layers or max(widths) != self.d_head:
            raise ValueError(f"widths {widths} of heads do not fit {self.grid} with d_head {self.d_head}")
        if any((width > 0) != (n > 0) for width, n in zip(widths, self.grid.heads_per_layer, strict=True)):
            raise ValueError(f"widths {widths} of heads are not those of heads per layer {self.grid.heads_per_layer}")
        return self

    @property
    def short_name(self) -> str:
        """The name to show: of a local path its last part, which names no folder of a user."""
        path = PurePath(self.name)
        is_path = path.is_absolute() or self.name.startswith(("~", ".")) or len(path.parts) > 2
        return path.name if is_path and path.name else self.name

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the heads of each layer; 0 for a layer without heads."""
        return self.d_head_per_layer or tuple(self.d_head if n else 0 for n in self.grid.heads_per_layer)

    @property
    def heads(self) -> str:
        """The heads in words: how many, and how wide."""
        narrowest = min(width for width in self.widths if width)
        return f"{self.grid}, d_head {f'{narrowest} to ' if narrowest < self.d_head else ''}{self.d_head}"

    @property
    def z_mask(self) -> NDArray[np.bool_]:
        """(layer head d_head), True where z has a number: False beyond the heads and the width of a layer."""
        wide: NDArray[np.bool_] = np.arange(self.d_head)[None, :] < np.array(self.widths)[:, None]
        return self.grid.mask[:, :, None] & wide[:, None, :]

    _serializer = leaves_out(n_kv_heads=None, d_head_per_layer=None, quantization=None, weights_from=None)

    def check_use(self, made_on: "ModelIdentity", what: str) -> tuple[str, ...]:
        """Check that a record made on another model may be used on this one.

        Args:
            made_on: The model of the record.
            what: The record in words, for the message.

        Returns:
            What differs without making the use wrong (weights, dtype, quantisation, tokenizer, BOS), to be recorded.

        Raises:
            MismatchError: The heads, their width, or the weight processing differ, so that z means something else.
        """
        if made_on.grid != self.grid or made_on.widths != self.widths:
            raise MismatchError(
                f"{what} was made on {made_on.short_name} ({made_on.heads}) and cannot be used on {self.short_name} "
                f"({self.heads}); load {made_on.short_name}, or fit it again on {self.short_name}"
            )
        if made_on.processing != self.processing and (made_on.value_bias or self.value_bias):
            raise MismatchError(
                f"{what} was made on {made_on.processing} weights and {self.short_name} now has "
                f"{self.processing} weights; with value biases z differs between them: load the model the same way as "
                "then"
            )
        return tuple(
            f"{what}: {part} of {self.short_name} differs from {made_on.short_name}, on which it was made"
            for part in self.differing(made_on)
            if part in SMALL_PARTS
        )

    def differing(self, other: "ModelIdentity") -> tuple[str, ...]:
        """Name the parts in which two models differ, their names and hosts aside."""
        found = [part for part, name in PARTS.items() if getattr(self, name) != getattr(other, name)]
        # Under another BOS the digest of one tokenizer differs, too: its probe text begins otherwise.
        other_tokenizer = self.bos == other.bos and self.tokenizer_digest != other.tokenizer_digest
        return (*found, "tokenizer") if other_tokenizer else tuple(found)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries whose numbers go into a record."""
    found = {}
    for name in ("site_lens", "torch", "transformer-lens", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
