"""Checkpoints in a folder or on the hub, inspected before anything is built or allocated for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from site_lens.models.gguf_source import WEIGHTS, holds, is_gguf, local_gguf
from site_lens.models.plain_transformers import is_multimodal
from site_lens.models.quantization import Quantization
from site_lens.records.assets import DEMO, DEMO_MODEL, MODEL_NAMES
from site_lens.records.errors import AdapterError, InputError
from site_lens.records.library_errors import error_reason, translated_errors
from site_lens.records.limited_io import is_folder, is_there
from site_lens.records.suggestions import did_you_mean, did_you_mean_path
from site_lens.records.wording import listed

UNREACHED = "couldn't connect"
"""Words of transformers where the hub cannot be reached."""
TOKENIZERS = ("token*", "vocab*", "merges*", "*.model", "*.tiktoken", "spiece*", "*.bpe")
HF_FORMAT = "give the checkpoint in Hugging Face's format (config.json and safetensors)"
KNOWN_MODELS = ", ".join(map(repr, MODEL_NAMES))


def source_of(name: str | Path, gguf_file: str | None = None) -> str:
    """Return the folder, GGUF file or hub id that a model is loaded from.

    Raises:
        InputError: There is no such file or folder, or it holds no checkpoint.
    """
    gguf = local_gguf(name, gguf_file)
    if gguf is not None:
        return str(gguf)
    source = str(DEMO_MODEL if str(name) == DEMO else name)
    path = Path(source)
    if not source:
        raise InputError(f"no model is called ''; give {KNOWN_MODELS}, a folder, a GGUF file, or a hub id")
    if is_folder(source):
        _refuse_incomplete(path)
    elif is_there(source):
        raise InputError(f"{source!r} is a file; give the folder of the checkpoint, with config.json and weights")
    elif is_gguf(path) and gguf_file is None:
        hint = did_you_mean_path(path, is_gguf)
        raise InputError(f"there is no GGUF file {source}; {hint}give a file that is there")
    elif source.startswith((".", "/", "~")) or len(path.parts) > 2:
        hint = did_you_mean_path(path, lambda folder: (folder / "config.json").is_file())
        raise InputError(
            f"there is no model folder {source}; {hint}give {KNOWN_MODELS}, an existing folder, or a hub id"
        )
    return source


def _refuse_incomplete(folder: Path) -> None:
    if not is_there(folder / "config.json"):
        if is_there(folder / "adapter_config.json"):
            raise AdapterError(
                f"{str(folder)!r} holds an adapter alone (adapter_config.json), not the model that it adapts; put it "
                "into its model with peft, .merge_and_unload(), and hand that to wrap_model"
            )
        inner = sorted(config.parent for config in folder.glob("*/config.json"))
        reason = f"it has no config.json; {f'did you mean {str(inner[0])!r}?' if inner else HF_FORMAT}"
    elif not holds(folder, WEIGHTS):
        reason = f"it has no weights; {HF_FORMAT}"
    elif not holds(folder, TOKENIZERS):  # of nothing, transformers makes an empty one for some families
        reason = (
            "it has no tokenizer; save one there (tokenizer.save_pretrained), or load both with transformers and use "
            "wrap_model(model, tokenizer=...)"
        )
    else:
        return
    raise InputError(f"cannot load a model from {str(folder)!r}: {reason}")


@contextmanager
def reading_errors(name: str, source: str) -> Iterator[None]:
    """Turn errors raised while a checkpoint is read into an InputError."""
    from huggingface_hub.errors import HFValidationError
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    def refuse(reason: str) -> InputError:
        return InputError(f"cannot load a model from {name!r}: {reason}")

    with translated_errors(refuse):
        try:
            yield
        except UnpicklingError:
            raise InputError(
                f"refusing to unpickle the weights of {name!r}, which could execute code; if you trust them, convert "
                "them to safetensors"
            ) from None
        except (OSError, ValueError) as error:
            if "trust_remote_code" in str(error):
                advice = "read it, and pass trust_remote_code=True if you trust it"
            elif is_there(source) or not isinstance(error, OSError | HFValidationError):
                raise
            else:
                folders = [str(config.parent) for config in Path().glob("*/config.json")]
                known = [*MODEL_NAMES, *folders, *OFFICIAL_MODEL_NAMES]
                if source in known and UNREACHED in str(error):
                    raise refuse(
                        f"no network, and it is not in the cache; give {KNOWN_MODELS} or a folder, or fill the cache "
                        f"where there is a network: hf download {source}"
                    ) from error
                hint = "" if source in known else did_you_mean(source, known)
                advice = f"give {KNOWN_MODELS}, a folder with config.json and safetensors weights, or a hub id"
                advice = f"{hint} Or {advice}" if hint else advice
            raise refuse(f"{error_reason(error)}; {advice}") from error


def from_checkpoint(name: str, source: str, config: Any, **options: Any) -> Any:
    """Load a model through transformers; with `device_map="meta"` its shapes alone.

    Raises:
        InputError: The checkpoint lacks weights, which transformers would draw at random, or has others than its
            config says.
    """
    import transformers

    whole = is_multimodal(config) and type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    auto = transformers.AutoModelForImageTextToText if whole else transformers.AutoModelForCausalLM
    try:
        model, info = auto.from_pretrained(source, config=config, output_loading_info=True, **options)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise InputError(f"the weights of {name!r} have other shapes than its config says") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(
            f"{name!r} lacks weights that its config asks for, and they would be drawn at random: "
            f"{listed(missing, 3)}; get the whole checkpoint"
        )
    return model


def refuse_too_large(
    shapes: Any, name: str, dtype: torch.dtype, quantization: Quantization | None, n_bytes: int | None
) -> None:
    """Check that weights can fit into memory, before any is read.

    Args:
        shapes: The model on the device "meta".
        name: What it is called.
        dtype: Number format of the weights.
        quantization: How they are quantised while they are loaded.
        n_bytes: Memory that there is; None where that is not known.

    Raises:
        InputError: They cannot.
    """
    bytes_each = {None: float(dtype.itemsize), "int8": 1.0, "nf4": 0.5}[quantization]
    needed = bytes_each * sum(weight.numel() for weight in shapes.parameters())
    if n_bytes is not None and needed > n_bytes:
        raise InputError(
            f"the weights of {name!r} take {needed / 2**30:,.1f} GiB, and there are {n_bytes / 2**30:,.1f} GiB of "
            "memory; choose a smaller number format, quantization, or more devices"
        )


def refuse_adapter_files(source: str, name: str, revision: str | None) -> None:
    """Check that a checkpoint brings no adapter: transformers loads one unmerged, or not at all without peft.

    Raises:
        AdapterError: There is an adapter_config.json.
        OSError: There is no such repository.
    """
    from transformers.utils import find_adapter_config_file

    if find_adapter_config_file(source, revision=revision) is not None:
        raise AdapterError(
            f"{name!r} brings an adapter (adapter_config.json), which hooks would leave out; load the model with peft, "
            "save what .merge_and_unload() returns, and load that (if the weights are merged already, remove the file)"
        )
