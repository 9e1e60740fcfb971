"""Wording that messages, sentences and tables share."""

from collections.abc import Iterable


def listed(names: Iterable[object], most: int = 12) -> str:
    """List names with commas; those beyond `most` are counted: `L0H1, L2H3 and 5 more`."""
    texts = list(map(str, names))
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
