"""Escapes of control characters: untrusted text cannot act on a terminal or turn a line around."""

import re

_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
"""Control characters of both sets (escape sequences begin with one), line separators, marks that turn the direction of
writing, characters of no width, by which two names can look alike, and halves of surrogate pairs, which no terminal can
be sent."""


def visible(text: str, *, keep: str = "") -> str:
    r"""Write every character that acts instead of showing as its escape, `\x1b`; all others stay.

    Args:
        text: Any text.
        keep: Characters that may stay though they act, such as the line feed of a text of several lines.
    """
    return _ACTING.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)
