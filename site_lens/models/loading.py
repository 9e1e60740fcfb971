"""Getting a model: the demo model, a local folder, a hub id, or a model that is in memory already."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypedDict, get_args

import torch
from torch import Tensor

from site_lens.core.assets import DEMO_MODEL
from site_lens.core.errors import InputError, ModelError
from site_lens.core.reading import is_folder
from site_lens.core.suggesting import did_you_mean, did_you_mean_path
from site_lens.models.bridge import BridgeModel, keep_dtype_of_rotated
from site_lens.models.context import Context
from site_lens.models.guarding import torch_defaults
from site_lens.models.hooked_transformer import HookedTransformerModel
from site_lens.models.hooking import StopForward, hooked, split_heads
from site_lens.models.host import HostModel, z_points
from site_lens.models.identity import identify
from site_lens.models.placing import DType, device_of, number_format, place
from site_lens.models.plain import Known, made_up, plain_logits, refuse_adapter_files, refuse_adapters
from site_lens.models.protocol import LensModel
from site_lens.models.quantization import (
    Quantization,
    bitsandbytes_settings,
    keep_gradients,
    named,
    refuse_unless_packed,
)
from site_lens.models.self_check import COMPARED, refuse_if_failed, same_as_transformers, self_check
from site_lens.models.text_decoder import sees_more_than_text, text_decoder
from site_lens.models.tokens import Encoder

HOSTS: dict[str, type[HostModel]] = {"TransformerBridge": BridgeModel, "HookedTransformer": HookedTransformerModel}
"""How each class of TransformerLens is driven. By name: TransformerLens 4 raises when asked for HookedTransformer."""


@torch_defaults()
def load_model(
    name: str | Path,
    *,
    dtype: DType | None = None,
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, str | int] | None = None,
    quantization: Quantization | None = None,
    bos: bool | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    check: bool = True,
) -> LensModel:
    """Load a model as a TransformerBridge and check that its heads can be read and changed.

    Args:
        name: "demo" for the embedded model, a folder in Hugging Face's format, or a hub id.
        dtype: Number format of the weights. When None: float32 for the demo model and for float16 checkpoints on a
            CPU, else the checkpoint's own.
        device: Where to put the weights; an accelerator if there is one, when None.
        device_map: Spread the weights over several devices, in place of `device`: "auto", "balanced" or another word
            of accelerate's, or a device for each module.
        quantization: Quantise the linear maps while loading, through bitsandbytes: "nf4" (four bits) or "int8".
            Unembedding, embeddings, norms, and projections that TransformerBridge splits stay in `dtype`.
        bos: Whether prompts begin with BOS; what the checkpoint's own tokenizer does when None.
        revision: Branch, tag or commit of a hub checkpoint.
        trust_remote_code: Run Python code that comes with the checkpoint. Read it first.
        check: Whether to refuse a model that fails a quick check; `examine` measures more.

    Raises:
        InputError: There is no such model, it cannot be loaded as asked, or its checkpoint lacks weights (which is not
            looked at in checkpoints that are quantised or bring code of their own).
        ModelError: The model cannot be hooked; the message carries the measured gap.

    Example:
        >>> import site_lens as sl
        >>> sl.load_model("demo").grid.shape
        (6, 8)
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    source = _source(name)
    if device is not None and device_map is not None:
        raise InputError(f"device={device!r} and device_map={device_map!r} were both given; leave out one of them")
    if quantization is not None and quantization not in get_args(Quantization):
        raise InputError(f"unknown quantization {quantization!r}; give one of {', '.join(get_args(Quantization))}")
    remote: _Remote = {"revision": revision, "trust_remote_code": trust_remote_code}
    where_to = device_of(device) if device_map is None else None
    known: Known = {}
    try:
        refuse_adapter_files(source, str(name), revision)
        config = transformers.AutoConfig.from_pretrained(source, **remote)
        _refuse_unless_decoder(config, str(name))
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **remote)
        in_format = number_format(dtype, config, where_to, demo=str(name) == "demo")
        own = named(getattr(config, "quantization_config", None))
        if own and quantization:
            raise InputError(f"{str(name)!r} is quantised already ({own}); leave out quantization={quantization!r}")
        # TransformerLens mends code of others while it loads it.
        by_itself = trust_remote_code and quantization is None and not sees_more_than_text(config)
        where = place(where_to, device_map, as_map=not by_itself)
        with _no_progress_bar(transformers):
            if by_itself:
                bridge = _boot(source, dtype=in_format, **where, **remote)
            else:
                settings: dict[str, Any] = {"dtype": in_format}
                if quantization is not None:
                    settings["quantization_config"] = bitsandbytes_settings(quantization, in_format)
                hf_model = _from_checkpoint(name, source, **settings, **where, **remote)
                if quantization is not None:
                    refuse_unless_packed(hf_model)
                bridge, known = _bridge(hf_model, tokenizer, source)
    except InputError:
        raise
    except UnpicklingError:
        raise InputError(
            f"the weights of {str(name)!r} are pickled objects and stay shut: opening them could run code; where you "
            "trust them, save them as safetensors"
        ) from None
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        lines = str(error).strip().splitlines()
        reason = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        advice = f"{_meant(source)}give 'demo', a folder with config.json and safetensors weights, or a hub id"
        if "trust_remote_code" in str(error):
            advice = "read it, and pass trust_remote_code=True if you trust it"
        raise InputError(f"cannot load a model from {str(name)!r}: {reason}; {advice}") from error
    return _wrap(bridge, tokenizer, name=str(name), bos=bos, revision=revision, check=check, known=known)


@torch_defaults()
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
        tokenizer: The checkpoint's own tokenizer; a plain Hugging Face model needs it. When None the one in the
            model, which TransformerLens has made add BOS (or EOS, where there is none).
        name: What to call the model in records; its own name when None.
        bos: Whether prompts begin with BOS; what the tokenizer does when None.
        check: Whether to refuse a model that fails a quick check; `examine` measures more.

    Raises:
        InputError: It is no such model, or has no tokenizer.
        ModelError: Its head outputs cannot be read, or a check failed; the message carries the measured gap.
    """
    from transformers import PreTrainedModel

    known: Known = {}
    if isinstance(model, torch.nn.Module):
        refuse_adapters(model, name or f"this {type(model).__name__}")
    if isinstance(model, PreTrainedModel):
        if tokenizer is None:
            raise InputError(f"a {type(model).__name__} brings no tokenizer; pass tokenizer=...")
        name = name or model.config.name_or_path or type(model).__name__
        model, known = _bridge(model, tokenizer, name)
    _host_class(model)
    tokenizer = model.tokenizer if tokenizer is None else tokenizer
    if tokenizer is None:
        raise InputError("this model has no tokenizer; pass tokenizer=...")
    own_name = name or str(model.cfg.model_name)
    return _wrap(model, tokenizer, name=own_name, bos=bos, revision=None, check=check, known=known)


def _source(name: str | Path) -> str:
    source = str(DEMO_MODEL if str(name) == "demo" else name)
    is_path = source.startswith((".", "/", "~")) or len(Path(source).parts) > 2
    if is_path and not is_folder(source):
        hint = did_you_mean_path(Path(source), lambda one: (one / "config.json").is_file())
        raise InputError(f"there is no model folder {source}; {hint}give 'demo', an existing folder, or a hub id")
    return source


def _from_checkpoint(name: str | Path, source: str, **options: Any) -> Any:
    """Load a model through transformers; with `device_map="meta"` its shapes alone.

    Raises:
        InputError: The checkpoint lacks weights, which transformers would draw at random, or has others than its
            config says.
    """
    import transformers

    try:
        model, found = transformers.AutoModelForCausalLM.from_pretrained(source, output_loading_info=True, **options)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise InputError(f"the weights of {str(name)!r} have other shapes than its config says") from error
    lacking = sorted(found["missing_keys"])
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise InputError(
            f"{str(name)!r} lacks weights that its config asks for, and they would be drawn at random: "
            f"{', '.join(lacking[:3])}{more}; get the whole checkpoint"
        )
    return model


class _Remote(TypedDict):
    """What is said to the hub besides a name."""

    revision: str | None
    trust_remote_code: bool


def _boot(source: str, **options: Any) -> Any:
    """Make a TransformerBridge.

    Raises:
        ModelError: TransformerLens knows no such architecture, or cannot take these weights apart.
    """
    from transformer_lens.model_bridge import TransformerBridge

    try:
        return TransformerBridge.boot_transformers(source, **options)
    except NotImplementedError as error:
        raise ModelError(f"TransformerLens cannot hook {source}: {str(error).strip()}") from error
    except ValueError as error:
        if "supported architecture" not in str(error):
            raise
        raise ModelError(f"TransformerLens does not know the architecture of {source}") from error


def _bridge(hf_model: Any, tokenizer: Any, name: str) -> tuple[Any, Known]:
    """Have a TransformerBridge take over a Hugging Face model, wherever its weights are.

    Returns:
        The bridge, and logits that the model gave before.

    Raises:
        InputError: Another bridge has taken it over already.
        ModelError: TransformerLens knows no such architecture, or cannot take these weights apart.
    """
    if any(hasattr(module, "original_component") for module in hf_model.modules()):
        raise InputError(f"{name} was taken over by a TransformerBridge already; wrap that bridge, or load it anew")
    keep_gradients(hf_model)
    hf_model.eval().set_attn_implementation("eager")  # the others do not show their attention
    n_ctx = getattr(hf_model.config.get_text_config(), "max_position_embeddings", None) or max(COMPARED)
    n_ctx = Context.of(hf_model.config, n_ctx).n_ctx
    prompts = made_up(len(tokenizer), [min(length, n_ctx) for length in COMPARED])
    known = {tuple(prompt): plain_logits(hf_model, prompt).cpu() for prompt in prompts}
    # Of a model that sees images, too, TransformerLens would load the image processor, and install packages for it.
    hf_model = text_decoder(hf_model)
    if not hf_model.config.architectures:  # as of a model that was never saved
        hf_model.config.architectures = [type(hf_model).__name__]
    # TransformerLens makes the tokenizer that it is given add BOS.
    return _boot(name, hf_model=hf_model, tokenizer=copy.deepcopy(tokenizer), device=hf_model.device), known


def _meant(source: str) -> str:
    """Ask whether a model of a like name was meant: one that TransformerLens lists, the demo model, a folder here."""
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    if is_folder(source):
        return ""
    folders = [str(config.parent) for config in Path().glob("*/config.json")]
    hint = did_you_mean(source, ["demo", *folders, *OFFICIAL_MODEL_NAMES])
    return f"{hint} Or " if hint else ""


def _host_class(model: Any) -> type[HostModel]:
    for cls in type(model).__mro__:
        if cls.__name__ in HOSTS:
            return HOSTS[cls.__name__]
    raise InputError(
        f"wrap_model takes a transformers model, a {' or a '.join(HOSTS)}, got a {type(model).__name__}; take a PEFT "
        "model apart with .merge_and_unload()"
    )


def _wrap(
    host: Any, tokenizer: Any, *, name: str, bos: bool | None, revision: str | None, check: bool, known: Known
) -> LensModel:
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
    config = getattr(getattr(host, "original_model", None), "config", None)
    encoder = Encoder(tokenizer, bos=bos, n_ctx=Context.of(config, int(host.cfg.n_ctx)))
    identity = identify(host, _z_shapes(host), encoder, name=name, revision=revision)
    model = _host_class(host)(host, encoder, identity)
    model.known = known
    if check:
        refuse_if_failed([*self_check(model), same_as_transformers(model)], name)
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


def _refuse_unless_decoder(config: Any, name: str) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    own_code = "AutoModelForCausalLM" in getattr(config, "auto_map", {})
    if config.is_encoder_decoder or (type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not own_code):
        raise InputError(
            f"{name!r} is no decoder of text (model type {config.model_type}), which is what is needed here"
        )


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
