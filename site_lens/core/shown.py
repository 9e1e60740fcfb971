"""Text of others as it is shown: nothing in it can act on a terminal or turn a line around."""

import re

_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of both sets (escape sequences begin with one), line separators, marks that turn the direction of
writing, and halves of surrogate pairs, which no terminal can be sent."""


def visible(text: str, *, keep: str = "") -> str:
    r"""Write every character that acts instead of showing as its escape, `\x1b`; all others stay.

    Args:
        text: Any text.
        keep: Characters that may stay though they act, such as the line feed of a text of several lines.
    """
    return _ACTING.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
