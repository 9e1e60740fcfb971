"""An accelerator with memory for few rows, imitated."""

from functools import wraps
from typing import Any

import pytest
import torch

from site_lens.models.bridge import BridgeModel


def allow_rows(monkeypatch: pytest.MonkeyPatch, most: int, method: str = "decode") -> list[int]:
    """Make a method of the model run out of memory with more rows than `most`; return the rows of its calls."""
    whole, tried = getattr(BridgeModel, method), []

    @wraps(whole)
    def limited(self: BridgeModel, *args: Any, **kwargs: Any) -> Any:
        n_rows = len(args[1] if method == "decode" else args[0])
        tried.append(n_rows)
        found = whole(self, *args, **kwargs)  # which takes its memory before there is none
        if n_rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return found

    monkeypatch.setattr(BridgeModel, method, limited)
    return tried
