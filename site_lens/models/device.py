"""Where weights go, and in which number format."""

import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

import torch

from site_lens.records.errors import InputError

DType = Literal["float32", "bfloat16", "float16"]


SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Words of accelerate's; any other word is a device that everything goes to."""


class Place(TypedDict, total=False):
    """Where weights go: one of the two."""

    device: torch.device
    device_map: Any


def place(device: torch.device | None, device_map: Any, *, as_map: bool) -> Place:
    """Say where weights go; those of quantised models are put there as they are loaded, since they do not move."""
    if device is None:
        if isinstance(device_map, str) and device_map not in SPREADS:
            device_of(device_map)
        return {"device_map": dict(device_map) if isinstance(device_map, Mapping) else device_map}
    return {"device_map": {"": str(device)}} if as_map else {"device": device}


def device_of(asked: str | torch.device | None) -> torch.device:
    """Return the device asked for, or the best there is.

    Raises:
        InputError: There is no such device.
    """
    if asked is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:  # torch says "not compiled with CUDA" by an assertion
        reason = str(error).splitlines()[0]
        raise InputError(f"unknown or missing device {asked!r} ({reason}); give cpu, cuda, cuda:1 or mps") from error


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


def _own_dtype(config: Any) -> torch.dtype | None:
    """Number format of a checkpoint; that of its text decoder where it has other parts, too."""
    return getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)


def number_format(asked: DType | None, config: Any, device: torch.device | None, *, demo: bool) -> torch.dtype:
    """Return the number format asked for, or the one in which a checkpoint is best loaded.

    Args:
        asked: What was asked for, if anything.
        config: Config of the checkpoint.
        device: Where it goes; None for several places.
        demo: Whether it is the demo model, whose float16 weights are for float32 arithmetic.

    Raises:
        InputError: It is no number format that is known here.
    """
    if asked is not None:
        if asked not in get_args(DType):
            raise InputError(f"unknown dtype {asked!r}; give one of {', '.join(get_args(DType))}")
        found: torch.dtype = getattr(torch, asked)
        return found
    own = _own_dtype(config)
    slow = device is not None and device.type == "cpu" and own == torch.float16
    return torch.float32 if demo or slow or own is None else own
