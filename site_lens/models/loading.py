"""Loading and wrapping of models: the demo model, a local folder, a hub id, or a model in memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from site_lens.models.base import LensModel, lock_point, z_points
from site_lens.models.bridge import BridgeModel, boot, hooking_errors, keep_dtype_of_rotated, take_over
from site_lens.models.checkpoints import (
    from_checkpoint,
    reading_errors,
    refuse_adapter_files,
    refuse_too_large,
    source_of,
)
from site_lens.models.checks import quick_check, refuse_if_failed, same_as_transformers
from site_lens.models.context_length import Context
from site_lens.models.device import DType, device_of, memory_of, number_format, placement
from site_lens.models.fingerprint import identify
from site_lens.models.gguf_conversion import as_folder_or_id
from site_lens.models.hooked_transformer import HookedTransformerModel
from site_lens.models.hooks import hooked, split_heads
from site_lens.models.locking import exact_products, lock_of, torch_defaults
from site_lens.models.plain_transformers import (
    KnownLogits,
    config_of,
    is_multimodal,
    refuse_adapters,
    refuse_unless_decoder,
)
from site_lens.models.quantization import Quantization, bitsandbytes_settings, keep_gradients, quantization_of
from site_lens.models.tokenization import Encoder, as_tokenizer, refuse_unfitting
from site_lens.records.assets import DEMO
from site_lens.records.errors import InputError, ModelError

HOSTS: dict[str, type[LensModel]] = {"TransformerBridge": BridgeModel, "HookedTransformer": HookedTransformerModel}
"""How each class of TransformerLens is driven. By name: TransformerLens 4 raises when asked for HookedTransformer."""


@torch_defaults()
@exact_products()
def load_model(
    name: str | Path,
    *,
    dtype: DType | None = None,
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, str | int] | None = None,
    quantization: Quantization | None = None,
    bos: bool | None = None,
    label: str | None = None,
    gguf_file: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    check: bool = True,
) -> LensModel:
    """Load a model as a TransformerBridge and check that its heads can be read and changed.

    Args:
        name: "demo" for the embedded model, "smollm2" for SmolLM2-135M-Instruct (a package of its own), a folder in
            Hugging Face's format, a GGUF file or a folder that holds one, or a hub id.
        dtype: Number format of the weights. When None: float32 for the demo model and for float16 checkpoints on a
            CPU, else the checkpoint's own.
        device: Where to put the weights; an accelerator if there is one, when None.
        device_map: Spread the weights over several devices, in place of `device`: "auto", "balanced" or another word
            of accelerate's, or a device for each module.
        quantization: Quantise the linear maps while loading, through bitsandbytes: "nf4" (four bits) or "int8".
            Unembedding, embeddings, norms, and projections that TransformerBridge splits stay in `dtype`.
        bos: Whether prompts begin with BOS; what the checkpoint's own tokenizer does when None.
        label: What to call the model in records; its name, or path, when None.
        gguf_file: The GGUF file to load of a folder or hub id. GGUF files are dequantised, once, into the cache folder
            of the user (XDG_CACHE_HOME or ~/.cache), which takes about two bytes a weight.
        revision: Branch, tag or commit of a hub checkpoint.
        trust_remote_code: Run Python code that comes with the checkpoint. Read it first.
        check: Whether to refuse a model that fails a quick check; `check_model` measures more.

    Raises:
        InputError: There is no such model, it cannot be loaded as asked, it is no decoder of text, its checkpoint lacks
            weights or a tokenizer, its weights cannot fit into memory, or a GGUF file is damaged.
        StorageError: A converted GGUF file cannot be written into the cache.
        ModelError: The model cannot be hooked; the message carries architecture and reason, or the measured gap.

    Example:
        >>> import site_lens as sl
        >>> sl.load_model("demo").grid.shape
        (6, 8)
    """
    import transformers

    source, given = source_of(name, gguf_file), str(name)
    if device is not None and device_map is not None:
        raise InputError(f"device={device!r} and device_map={device_map!r} were both given; leave out one of them")
    hub: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    target = device_of(device) if device_map is None else None
    with reading_errors(given, source), _no_progress_bar(transformers):
        source = as_folder_or_id(source, given, gguf_file=gguf_file, revision=revision)
        refuse_adapter_files(source, given, revision)
        config = transformers.AutoConfig.from_pretrained(source, **hub)
        refuse_unless_decoder(config, given)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **hub)
        weight_dtype = number_format(dtype, config, target, demo=given == DEMO)
        stored = quantization_of(config)
        if stored and quantization:
            raise InputError(f"{given!r} is quantised already ({stored}); leave out quantization={quantization!r}")
        own_code = trust_remote_code and bool(getattr(config, "auto_map", None))
        if not (stored or own_code):  # third-party code need not run without numbers
            shapes = from_checkpoint(given, source, config, dtype=weight_dtype, device_map="meta", **hub)
            refuse_too_large(shapes, given, weight_dtype, quantization, memory_of(target))
        if own_code and not (stored or quantization or is_multimodal(config)):
            # TransformerLens mends third-party code before it runs.
            where = placement(target, device_map, as_map=False)
            architecture = (config.architectures or ["?"])[0]
            bridge, known = boot(source, architecture=architecture, dtype=weight_dtype, **where, **hub), KnownLogits()
        else:
            where = placement(target, device_map, as_map=True)
            options = {"dtype": weight_dtype, "attn_implementation": "eager", **hub, **where}
            if quantization is not None:
                options["quantization_config"] = bitsandbytes_settings(quantization, weight_dtype)
            hf_model = from_checkpoint(given, source, config, **options)
            bridge, known = take_over(hf_model, tokenizer, given)
    own_name = label or (given if gguf_file is None else f"{given}/{gguf_file}")
    return _wrap(bridge, tokenizer, name=own_name, bos=bos, revision=revision, check=check, known=known)


@torch_defaults()
@exact_products()
def wrap_model(
    model: Any,
    *,
    tokenizer: Any | None = None,
    name: str | None = None,
    bos: bool | None = None,
    check: bool = True,
) -> LensModel:
    """Wrap a model that is already in memory, and check it.

    The model is put into eval mode and its parameters are frozen; its weights are not touched. A plain Hugging Face
    model is taken over by a TransformerBridge, wherever its weights are and however they are quantised: use it through
    what comes back from then on.

    Args:
        model: A plain decoder of `transformers`, a `TransformerBridge` (TransformerLens 3.9 or 4), or a
            `HookedTransformer` (up to 3.9).
        tokenizer: The checkpoint's own tokenizer, or its name or folder; a plain Hugging Face model needs it. When None
            the one in the model, which TransformerLens has made add BOS (or EOS, where there is none).
        name: What to call the model in records; its own name when None.
        bos: Whether prompts begin with BOS; what the tokenizer does when None.
        check: Whether to refuse a model that fails a quick check; `check_model` measures more.

    Raises:
        InputError: It is no such model, has no language-model head, or has no tokenizer that fits.
        ModelError: It cannot be hooked, or a check failed; the message carries architecture and reason, or the measured
            gap.
    """
    from transformers import PreTrainedModel

    known: KnownLogits = {}
    tokenizer = None if tokenizer is None else as_tokenizer(tokenizer)
    if isinstance(model, torch.nn.Module):
        refuse_adapters(model, name or f"this {type(model).__name__}")
    if isinstance(model, PreTrainedModel):
        if tokenizer is None:
            raise InputError(f"a {type(model).__name__} brings no tokenizer; pass tokenizer=...")
        name = name or model.config.name_or_path or type(model).__name__
        model, known = take_over(model, tokenizer, name)
    _host_class(model)
    tokenizer = model.tokenizer if tokenizer is None else tokenizer
    if tokenizer is None:
        raise InputError("this model has no tokenizer; pass tokenizer=...")
    own_name = name or str(model.cfg.model_name)
    return _wrap(model, tokenizer, name=own_name, bos=bos, revision=None, check=check, known=known)


def _host_class(model: Any) -> type[LensModel]:
    for cls in type(model).__mro__:
        if cls.__name__ in HOSTS:
            return HOSTS[cls.__name__]
    raise InputError(
        f"wrap_model takes a transformers model, a {' or a '.join(HOSTS)}, got a {type(model).__name__}; take a PEFT "
        "model apart with .merge_and_unload()"
    )


def _wrap(
    host: Any, tokenizer: Any, *, name: str, bos: bool | None, revision: str | None, check: bool, known: KnownLogits
) -> LensModel:
    architecture = str(getattr(host.cfg, "architecture", None) or host.cfg.original_architecture)
    with hooking_errors(name, architecture), lock_of(lock_point(host)):
        host.eval()
        keep_gradients(host)
        keep_dtype_of_rotated(host)
        for weight in host.parameters():
            weight.requires_grad_(False)
        if any(weight.is_meta for weight in host.parameters()):
            raise ModelError(
                f"some weights of {name} were put on a disk for want of memory, which is not supported; quantise the "
                "model, or give it more devices"
            )
        n_tokens = len(next(host.embed.parameters()))
        refuse_unfitting(tokenizer, n_tokens)
        n_ctx = Context.of(config_of(host), int(host.cfg.n_ctx))
        encoder = Encoder(tokenizer, bos=bos, n_ctx=n_ctx, n_tokens=n_tokens)
        identity = identify(host, _z_shapes(host), encoder, name=name, revision=revision)
        model = _host_class(host)(host, encoder, identity)
        model.known = known
        if check:
            refuse_if_failed([*quick_check(model), same_as_transformers(model)], name)
    return model


@torch.no_grad()
def _z_shapes(host: Any) -> list[tuple[int, ...] | None]:
    """Shape of z of every layer on two tokens, (row pos head d_head); None for a layer without heads."""
    points = z_points(host)
    shapes: dict[int, tuple[int, ...]] = {}
    # Multi-head latent attention: TransformerLens cuts its z by another width than that of the heads.
    latent = getattr(config_of(host), "kv_lora_rank", None) is not None

    def look(layer: int, z: Tensor) -> None:
        shapes[layer] = tuple((split_heads(z, host.cfg.n_heads) if latent else z).shape)

    with hooked((point, partial(look, layer)) for layer, point in points.items()):
        host(torch.tensor([[1, 2]], device=next(host.parameters()).device))
    if missing := points.keys() - shapes:
        raise ModelError(
            f"z of layer {min(missing)} was never computed; the model's attention does not pass through hook_z"
        )
    return [shapes.get(layer) for layer in range(host.cfg.n_layers)]


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
