"""Getting a model: the demo model, a local folder, a hub id, or a TransformerLens model that is already there."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from site_lens.core.assets import DEMO_MODEL
from site_lens.core.errors import InputError, ModelError
from site_lens.core.suggesting import did_you_mean, did_you_mean_path
from site_lens.models.bridge import BridgeModel
from site_lens.models.hooked_transformer import HookedTransformerModel
from site_lens.models.hooking import StopForward, hooked, split_heads
from site_lens.models.host import HostModel, z_points
from site_lens.models.identity import identify
from site_lens.models.protocol import LensModel
from site_lens.models.self_check import refuse_if_failed, self_check
from site_lens.models.tokens import Encoder

DType = Literal["float32", "bfloat16", "float16"]
HOSTS: dict[str, type[HostModel]] = {"TransformerBridge": BridgeModel, "HookedTransformer": HookedTransformerModel}
"""How each class of TransformerLens is driven. By name: TransformerLens 4 raises when asked for HookedTransformer."""


def load_model(
    name: str | Path,
    *,
    dtype: DType | None = None,
    device: str | torch.device | None = None,
    bos: bool | None = None,
    revision: str | None = None,
    check: bool = True,
) -> LensModel:
    """Load a model as a TransformerBridge and check that its heads can be read and changed.

    Args:
        name: "demo" for the embedded model, a folder in Hugging Face's format, or a hub id.
        dtype: Number format of the weights. When None: float32 for the demo model and for float16 checkpoints on a
            CPU, else the checkpoint's own.
        device: Where to put the weights; an accelerator if there is one, when None.
        bos: Whether prompts begin with BOS; what the checkpoint's own tokenizer does when None.
        revision: Branch, tag or commit of a hub checkpoint.
        check: Whether to refuse a model that fails a quick check; `examine` measures more.

    Raises:
        InputError: There is no such model.
        ModelError: The model cannot be hooked; the message carries the measured gap.

    Example:
        >>> import site_lens as sl
        >>> sl.load_model("demo").grid.shape
        (6, 8)
    """
    import transformers
    from safetensors import SafetensorError
    from transformer_lens.model_bridge import TransformerBridge

    source = str(DEMO_MODEL if str(name) == "demo" else name)
    place = _device(device)
    is_path = source.startswith((".", "/", "~")) or len(Path(source).parts) > 2
    if is_path and not Path(source).is_dir():
        hint = did_you_mean_path(Path(source), lambda one: (one / "config.json").is_file())
        raise InputError(f"there is no model folder {source}; {hint}give 'demo', an existing folder, or a hub id")
    try:
        config = transformers.AutoConfig.from_pretrained(source, revision=revision)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, revision=revision)
        number_format = _number_format(dtype, getattr(config, "dtype", None), place, demo=str(name) == "demo")
        with _no_progress_bar(transformers):
            bridge = TransformerBridge.boot_transformers(source, device=place, dtype=number_format, revision=revision)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"cannot load a model from {str(name)!r}: {reason}; {_meant(source)}give 'demo', a folder "
            "with config.json and safetensors weights, or a hub id"
        ) from error
    return _wrap(bridge, tokenizer, name=str(name), bos=bos, revision=revision, check=check)


def wrap_model(
    hooked_model: Any,
    *,
    tokenizer: Any | None = None,
    name: str | None = None,
    bos: bool | None = None,
    check: bool = True,
) -> LensModel:
    """Wrap a TransformerLens model that is already in memory, and check it.

    The model is put into eval mode and its parameters are frozen; its weights are not touched.

    Args:
        hooked_model: A `TransformerBridge` (TransformerLens 3.9 or 4), or a `HookedTransformer` (up to 3.9).
        tokenizer: The checkpoint's own tokenizer; when None the one in the model, which TransformerLens has made add
            BOS (or EOS, where there is none).
        name: What to call the model in records; its own name when None.
        bos: Whether prompts begin with BOS; what the tokenizer does when None.
        check: Whether to refuse a model that fails a quick check; `examine` measures more.

    Raises:
        InputError: It is no TransformerLens model, or has no tokenizer.
        ModelError: Its head outputs cannot be read, or a check failed; the message carries the measured gap.
    """
    _host_class(hooked_model)
    tokenizer = hooked_model.tokenizer if tokenizer is None else tokenizer
    if tokenizer is None:
        raise InputError("this model has no tokenizer; pass tokenizer=...")
    own_name = name or str(hooked_model.cfg.model_name)
    return _wrap(hooked_model, tokenizer, name=own_name, bos=bos, revision=None, check=check)


def _meant(source: str) -> str:
    """Ask whether a model of a like name was meant: one that TransformerLens lists, the demo model, a folder here."""
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    if Path(source).is_dir():
        return ""
    folders = [str(config.parent) for config in Path().glob("*/config.json")]
    hint = did_you_mean(source, ["demo", *folders, *OFFICIAL_MODEL_NAMES])
    return f"{hint} Or " if hint else ""


def _host_class(hooked_model: Any) -> type[HostModel]:
    for cls in type(hooked_model).__mro__:
        if cls.__name__ in HOSTS:
            return HOSTS[cls.__name__]
    raise InputError(
        f"wrap_model takes a TransformerLens {' or '.join(HOSTS)}, got a {type(hooked_model).__name__}; boot one with "
        "TransformerBridge.boot_transformers(name, hf_model=...)"
    )


def _wrap(host: Any, tokenizer: Any, *, name: str, bos: bool | None, revision: str | None, check: bool) -> LensModel:
    host.eval()
    for weight in host.parameters():
        weight.requires_grad_(False)
    encoder = Encoder(tokenizer, bos=bos, n_ctx=int(host.cfg.n_ctx))
    identity = identify(host, _z_shapes(host), encoder, name=name, revision=revision)
    model = _host_class(host)(host, encoder, identity)
    if check:
        refuse_if_failed(self_check(model), name)
    return model


@torch.no_grad()
def _z_shapes(host: Any) -> list[tuple[int, ...]]:
    """Shape of z of every layer on two tokens, (row pos head d_head)."""
    points = z_points(host)
    shapes: dict[int, tuple[int, ...]] = {}
    # Multi-head latent attention: TransformerLens cuts its z by another width than that of the heads.
    config = getattr(getattr(host, "original_model", None), "config", None)
    latent = getattr(config, "kv_lora_rank", None) is not None

    def look(layer: int, z: Tensor) -> None:
        shapes[layer] = tuple((split_heads(z, host.cfg.n_heads) if latent else z).shape)
        if layer == max(points):
            raise StopForward

    device = next(host.parameters()).device
    with hooked((point, partial(look, layer)) for layer, point in points.items()):
        try:
            host(torch.tensor([[1, 2]], device=device))
        except StopForward:
            return [shapes[layer] for layer in sorted(shapes)]
    raise ModelError(f"z of layer {max(points)} was never computed; the model's attention does not pass through hook_z")


def _device(asked: str | torch.device | None) -> torch.device:
    if asked is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:  # torch says "not compiled with CUDA" by an assertion
        reason = str(error).splitlines()[0]
        raise InputError(f"unknown or missing device {asked!r} ({reason}); give cpu, cuda, cuda:1 or mps") from error


def _number_format(asked: DType | None, own: torch.dtype | None, device: torch.device, *, demo: bool) -> torch.dtype:
    if asked is not None:
        if asked not in get_args(DType):
            raise InputError(f"unknown dtype {asked!r}; give one of {', '.join(get_args(DType))}")
        found: torch.dtype = getattr(torch, asked)
        return found
    slow = device.type == "cpu" and own == torch.float16
    return torch.float32 if demo or slow or own is None else own


@contextmanager
def _no_progress_bar(transformers: Any) -> Iterator[None]:
    """Keep the weight-loading bar off the terminal, and put the setting back."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
