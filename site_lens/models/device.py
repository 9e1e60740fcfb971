"""Device and number format of a model's weights."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch

from site_lens.records.errors import InputError
from site_lens.records.library_errors import translated_errors

DType = Literal["float32", "bfloat16", "float16"]

SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Strategies of accelerate to spread weights; any other word is a device that everything goes to."""


def placement(device: torch.device | None, device_map: Any, *, as_map: bool) -> dict[str, Any]:
    """Return the option that says where weights go; those of quantised models are put there when loaded."""
    if device is not None:
        return {"device_map": {"": str(device)}} if as_map else {"device": device}
    if isinstance(device_map, str) and device_map not in SPREADS:
        device_of(device_map)
    return {"device_map": dict(device_map) if isinstance(device_map, Mapping) else device_map}


def device_of(name: str | torch.device | None) -> torch.device:
    """Return a device by name; the best there is when None.

    Raises:
        InputError: There is no such device.
    """
    if name is None:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    what = f"unknown or missing device {name!r}"
    with translated_errors(lambda reason: InputError(f"{what} ({reason}); give cpu, cuda, cuda:1 or mps")):
        return torch.empty(0, device=name).device


def memory_of(device: torch.device | None) -> int | None:
    """Return the bytes of a device, or of main memory and all devices when None; None where the system does not say."""
    has_main = hasattr(os, "sysconf")  # not on Windows
    main = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if has_main else None
    cards = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
    if device is None:
        return None if main is None else main + sum(cards)
    if device.type == "cuda":
        return cards[device.index or 0]
    return main if device.type in ("cpu", "mps") else None


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of a GPU that are free or kept by torch for reuse; None of other devices."""
    if device.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def number_format(dtype: DType | None, config: Any, device: torch.device | None, *, demo: bool) -> torch.dtype:
    """Return a number format by name; the one in which a checkpoint is best loaded when None.

    Args:
        dtype: Name of the format.
        config: Config of the checkpoint.
        device: Where it goes; None for several devices.
        demo: Whether it is the demo model, whose float16 weights are for float32 arithmetic.
    """
    if dtype is not None:
        by_name: torch.dtype = getattr(torch, dtype)
        return by_name
    stored: torch.dtype | None = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    slow = device is not None and device.type == "cpu" and stored == torch.float16
    return torch.float32 if demo or slow or stored is None else stored
