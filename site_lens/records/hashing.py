"""Digests of content: the same content gives the same digest on every machine."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from site_lens._version import __version__

MEASURING = (
    "records", "stats", "heads", "tasks", "models", "activations", "site", "selectors", "methods", "studies", "sweeps"
)  # fmt: skip
"""Folders whose code decides what is measured; plots, pages and commands may change freely."""


def digest_bytes(content: bytes) -> str:
    """Hash bytes to 64 hexadecimal digits (SHA-256)."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Hash a file of any size, as `digest_bytes` hashes its content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """Write a JSON value in the one form that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_json(value: Any) -> str:
    """Hash a JSON value, whatever the order of its keys."""
    return digest_bytes(canonical_json(value))


def digest_arrays(arrays: dict[str, np.ndarray]) -> str:
    """Hash named arrays: names, shapes, dtypes and bytes."""
    parts = [
        [name, str(array.dtype), list(array.shape), digest_bytes(np.ascontiguousarray(array).tobytes())]
        for name, array in sorted(arrays.items())
    ]
    return digest_json(parts)


@cache
def code_version(package: Path = Path(__file__).parent.parent) -> str:
    """Name the code that measures: its version and a digest of its sources.

    All commits of a clone between two releases have one version.
    """
    sources = [path for floor in MEASURING for path in sorted((package / floor).rglob("*.py"))]
    parts = [[path.relative_to(package).as_posix(), digest_bytes(path.read_bytes())] for path in sources]
    return f"site_lens {__version__} {digest_json(parts)[:16]}"


def seed_stream(*parts: Any) -> np.random.Generator:
    """Open the random stream that belongs to `parts` (a seed, a task digest, a purpose) and to nothing else.

    Streams of different parts are independent, so what a fit draws does not depend on which other
    fits share its batch.
    """
    return np.random.default_rng(int(digest_json([str(part) for part in parts])[:32], 16))
