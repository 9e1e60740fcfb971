"""Valid files, damaged; and values that no honest file holds."""

import json
from typing import Any

from hypothesis import strategies as st

from site_lens.records.hashing import digest_bytes, digest_json

HOSTILE = [
    "", " ", "\0", "..", "../../x", "/etc/passwd", "a" * 500, "<script>alert(1)</script>", "\x1b[31mred",
    "[bold]x[/bold]", "\u202egnp.exe", "\u2028", "\ud800", "CON", "nul.json", "C:\\x", "$array", "__class__",
    "{{ 7 * 7 }}", "%{x}",
]  # fmt: skip
"""Texts that something, somewhere, reads as more than text."""

texts = st.sampled_from(HOSTILE) | st.text(max_size=20)
numbers = (
    st.integers(-3, 5)
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, 10**18, 1e308, 5e-324, float("nan"), float("inf"), -0.0])
    | st.floats()
)
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


PIECES = [b"\0", b"\xff", b"[", b"{", b'"', b"9" * 20, b"\x1b[2J", b"\xef\xbb\xbf", b"PK\x03\x04"]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage a file in one to three places: cut, flip, overwrite, insert, drop, repeat."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = start + draw(st.integers(1, 12))
        piece = draw(st.sampled_from(PIECES))
        before, inside, after = content[:start], content[start:end], content[end:]
        match draw(st.sampled_from(["cut", "flip", "overwrite", "insert", "drop", "repeat"])):
            case "cut":
                content = before
            case "flip":
                content = before + bytes(byte ^ (1 << byte % 8) for byte in inside[:1]) + inside[1:] + after
            case "overwrite":
                content = before + piece + content[start + len(piece) :]
            case "insert":
                content = before + piece + inside + after
            case "drop":
                content = before + after
            case "repeat":
                content = before + inside + inside + after
    return content


@st.composite
def with_a_change(draw: st.DrawFn, value: Any) -> Any:
    """Put something else in one place of a JSON value: at its top, or anywhere inside."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw(st.sampled_from(keys))
        changed = dict(value) if isinstance(value, dict) else list(value)
        match draw(st.sampled_from(["inside", "inside", "inside", "drop", "add", "repeat"])):
            case "inside":
                changed[key] = draw(with_a_change(value[key]))
            case "drop":
                del changed[key]
            case "add" if isinstance(changed, dict):
                changed[draw(texts)] = draw(json_values)
            case _ if isinstance(changed, list):
                changed.append(value[key])
        return changed
    return draw(json_values)


def signed(manifest: dict[str, Any], tensors: bytes) -> bytes:
    """Write a manifest as somebody would who knows how to set every digest right."""
    said = {name: value for name, value in manifest.items() if name != "digest"}
    said["tensors_digest"] = digest_bytes(tensors)
    try:
        digest = digest_json(said)
    except (ValueError, RecursionError):  # NaN, half characters: no digest is right
        digest = ""
    return json.dumps(said | {"digest": digest}).encode()
