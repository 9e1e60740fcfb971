"""Checkpoints: what stands in a folder or on the hub, looked at before anything is built or allocated for it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import torch

from site_lens.models.quantization import Quantization
from site_lens.models.text_decoder import sees_more_than_text
from site_lens.records.assets import DEMO_MODEL
from site_lens.records.errors import AdapterError, InputError
from site_lens.records.limited_io import current_limits, is_folder, is_there, parse_json, read_file
from site_lens.records.suggestions import did_you_mean, did_you_mean_path

MOST = {
    10**4: ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"),
    2**24: (
        "num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads", "num_kv_heads", "head_dim",
        "hidden_size", "n_embd", "d_model", "vocab_size",
    ),
    2**31 - 1: ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len"),
}  # fmt: skip
"""What a config may count, and how far: far above every model there is, and far below what takes minutes to build."""
LIMITS = {name: (1, most) for most, names in MOST.items() for name in names} | {
    name: (0, 2**24)
    for name in ("intermediate_size", "ffn_dim", "n_inner")  # 0: attention alone
}

TOKENIZERS = ("token*", "vocab*", "merges*", "*.model", "*.tiktoken", "spiece*", "*.bpe")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt", "*.pth")


class Remote(TypedDict):
    """What is said to the hub besides a name."""

    revision: str | None
    trust_remote_code: bool


def source_of(name: str | Path) -> str:
    """Return the folder or hub id that a model is loaded from.

    Raises:
        InputError: It is a file, there is no such folder, or it holds something else than a checkpoint.
    """
    if not isinstance(name, str | Path) or not str(name):
        raise InputError(f"no model is called {name!r}; give 'demo', a folder, or a hub id")
    source = str(DEMO_MODEL if str(name) == "demo" else name)
    path = Path(source)
    if is_folder(source):
        _refuse_without_config(path)
        return source
    if path.suffix == ".gguf":
        raise InputError(f"{source!r} is a GGUF file, which is not read here; {_HF_FORMAT} that it was made from")
    if is_there(source):
        raise InputError(f"{source!r} is a file; give the folder of the checkpoint, with config.json and weights")
    if source.startswith((".", "/", "~")) or len(path.parts) > 2:
        hint = did_you_mean_path(path, lambda one: (one / "config.json").is_file())
        raise InputError(f"there is no model folder {source}; {hint}give 'demo', an existing folder, or a hub id")
    return source


_HF_FORMAT = "give the checkpoint in Hugging Face's format (config.json and safetensors)"


def _refuse_without_config(folder: Path) -> None:
    if (folder / "config.json").exists():
        return
    if (folder / "adapter_config.json").exists():
        raise AdapterError(
            f"{str(folder)!r} holds an adapter alone (adapter_config.json), not the model that it adapts; put it into "
            "its model with peft, .merge_and_unload(), and hand that to wrap_model"
        )
    if any(folder.glob("*.gguf")):
        raise InputError(f"{str(folder)!r} holds GGUF files, which are not read here; {_HF_FORMAT}")
    inner = sorted(config.parent for config in folder.glob("*/config.json"))
    advice = f"did you mean {str(inner[0])!r}?" if inner else _HF_FORMAT
    raise InputError(f"cannot load a model from {str(folder)!r}: it has no config.json; {advice}")


def refuse_incomplete(source: str) -> None:
    """Check that a folder has weights and a tokenizer; of a hub id nothing is known before it is loaded.

    Raises:
        InputError: One of them is missing.
    """
    folder = Path(source)
    if not is_folder(source):
        return
    if not _any(folder, WEIGHTS):
        found = " (GGUF files are not read here)" if _any(folder, ("*.gguf",)) else ""
        raise InputError(f"cannot load a model from {source!r}: it has no weights{found}; {_HF_FORMAT}")
    if not _any(folder, TOKENIZERS):  # of nothing, transformers makes an empty one for some families
        raise InputError(
            f"cannot load a model from {source!r}: it has no tokenizer; save one there (tokenizer.save_pretrained), or "
            "load both with transformers and use wrap_model(model, tokenizer=...)"
        )


def _any(folder: Path, patterns: Iterable[str]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def refuse_strange_config(source: str, revision: str | None) -> None:
    """Check the counts in a config.json before anything is built from them.

    Raises:
        InputError: It is not JSON, or a count of layers, heads, tokens or positions is not one.
        OSError: There is none, or the hub cannot be reached.
    """
    from transformers.utils.hub import cached_file

    path = Path(source) / "config.json" if is_folder(source) else cached_file(source, "config.json", revision=revision)
    limits = current_limits()
    where = f"the config.json of {source!r}"
    try:
        config = parse_json(read_file(path, limits.record_json_bytes), limits.record_json_values)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{where} holds a {type(config).__name__}, and no settings")
    for name, value in _counts(config):
        least, most = LIMITS[name]
        if not least <= value <= most:
            raise InputError(f"{where} says {name}={value}, which must be between {least} and {most}")


def _counts(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Return what a config counts, its parts included; of what is no whole number, transformers will say so."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _counts(value)
        elif name in LIMITS and isinstance(value, int) and not isinstance(value, bool):
            yield name, value


def from_checkpoint(name: str | Path, source: str, config: Any, **options: Any) -> Any:
    """Load a model through transformers; with `device_map="meta"` its shapes alone.

    Raises:
        InputError: The checkpoint lacks weights, which transformers would draw at random, or has others than its
            config says.
    """
    import transformers

    whole = sees_more_than_text(config) and type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    auto = transformers.AutoModelForImageTextToText if whole else transformers.AutoModelForCausalLM
    try:
        model, found = auto.from_pretrained(source, output_loading_info=True, **options)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise InputError(f"the weights of {str(name)!r} have other shapes than its config says") from error
    except KeyError as error:  # a table of transformers, such as that of activations, lacks what a setting says
        said = [setting for setting, value in config.to_dict().items() if value in error.args]
        if not said:
            raise
        raise InputError(f"the config.json of {str(name)!r} says {said[0]}={error}, which is not known") from error
    lacking = sorted(found["missing_keys"])
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise InputError(
            f"{str(name)!r} lacks weights that its config asks for, and they would be drawn at random: "
            f"{', '.join(lacking[:3])}{more}; get the whole checkpoint"
        )
    return model


def refuse_too_large(
    shapes: Any, name: str, dtype: torch.dtype, quantization: Quantization | None, room: int | None
) -> None:
    """Check that weights can fit into memory, before any is read.

    Args:
        shapes: The model on the device "meta".
        name: What it is called.
        dtype: Number format of the weights.
        quantization: How they are quantised while they are loaded.
        room: Memory that there is, in bytes; None where that is not known.

    Raises:
        InputError: They cannot.
    """
    bytes_each = {None: float(dtype.itemsize), "int8": 1.0, "nf4": 0.5}[quantization]
    needed = bytes_each * sum(weight.numel() for weight in shapes.parameters())
    if room is not None and needed > room:
        raise InputError(
            f"the weights of {name!r} take {needed / 2**30:,.1f} GiB, and there are {room / 2**30:,.1f} GiB of memory; "
            "choose a smaller number format, quantization, or more devices"
        )


def meant(source: str) -> str:
    """Ask whether a model of a like name was meant: one that TransformerLens lists, the demo model, a folder here."""
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    if is_folder(source):
        return ""
    folders = [str(config.parent) for config in Path().glob("*/config.json")]
    hint = did_you_mean(source, ["demo", *folders, *OFFICIAL_MODEL_NAMES])
    return f"{hint} Or " if hint else ""
