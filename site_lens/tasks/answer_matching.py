"""Answer matching: exact and prefix match of generated text."""

from collections.abc import Sequence


def first_lines(text: str, like: str = "") -> str:
    """Return generated text up to the end of as many lines as an answer has, without the spaces around it."""
    return "\n".join(text.lstrip(" ").split("\n")[: n_lines(like)]).strip()


def n_lines(answer: str) -> int:
    """Count the lines of an answer."""
    return answer.strip().count("\n") + 1


def exact_match(generated: str, answers: Sequence[str]) -> bool:
    """Tell whether the generated text equals an accepted answer, letter by letter, over as many lines as that has.

    An empty answer equals an empty first line alone.
    """
    return any(first_lines(generated, answer) == answer.strip() for answer in answers)


def prefix_match(generated: str, target: str, *, task: str) -> bool:
    """Tell whether the published code would call it an "exact match": the generation begins with the target.

    "St." counts as "Saint" in both texts, line breaks before the generation do not count, and both are cut at the first
    "("; case is ignored unless the task's name contains "capitalize" or "lowercase". A one-letter target therefore
    matches every word that begins with it.

    Two kinds of answers that the published code cannot judge are judged otherwise. Of one that begins with "(" it
    leaves nothing, so that every text is right: here it is compared whole. One of several lines is never right there:
    here it is compared with as many lines. An empty target matches an empty generation alone.

    Reference: Soft_Injection `eval.py`.
    """
    made, wanted = (text.strip().replace("St.", "Saint") for text in (generated, target))
    if cut := wanted.split("(", 1)[0].strip():
        made, wanted = first_lines(made, cut).split("(", 1)[0].strip(), cut
    if "capitalize" not in task.lower() and "lowercase" not in task.lower():
        made, wanted = made.lower(), wanted.lower()
    return made.startswith(wanted) if wanted else not made
