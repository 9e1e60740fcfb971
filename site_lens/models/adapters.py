"""PEFT adapters, which hooks would leave out: they are refused until they are merged."""

from typing import Any

from site_lens.records.errors import AdapterError


def refuse_adapters(model: Any, name: str) -> None:
    """Check that a model in memory has no PEFT adapter.

    TransformerBridge takes the base weights of what it splits (GPT-2's c_attn, Phi-3's qkv_proj and gate_up_proj), and
    an adapter there would be dropped; code that reads weights would leave it out everywhere.

    Raises:
        AdapterError: There is one.
    """
    adapters = [(path, kind) for path, module in model.named_modules() if (kind := _kind_of_adapter(module))]
    if adapters:
        (path, kind), *others = adapters
        raise AdapterError(
            f"{name} has an adapter that is not merged ({kind} in {path}{f' and {len(others)} more' if others else ''}"
            "), which hooks leave out; give what peft's .merge_and_unload() returns (prompt and prefix tuning cannot "
            "be merged: they are not supported)"
        )


def _kind_of_adapter(module: Any) -> str:
    """Return the kind of a module of PEFT's, such as lora; nothing for others, and wrappers of whole models."""
    places = [cls.__module__.split(".") for cls in type(module).__mro__]
    return next((place[-2] for place in places if place[0] == "peft" and not hasattr(module, "peft_config")), "")


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
