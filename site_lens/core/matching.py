"""When generated text counts as the answer."""

from collections.abc import Sequence


def first_line(text: str) -> str:
    """Return generated text up to the end of its first line, without the spaces around it."""
    return text.lstrip(" ").split("\n", 1)[0].strip()


def exact_match(generated: str, answers: Sequence[str]) -> bool:
    """Tell whether the first generated line equals an accepted answer, letter by letter."""
    return first_line(generated) in {answer.strip() for answer in answers}


def prefix_match(generated: str, target: str, *, task: str) -> bool:
    """Tell whether the published code would call it an "exact match": the generation begins with the target.

    Case is ignored unless the task's name contains "capitalize" or "lowercase"; both texts are cut at the first "(";
    "St." counts as "Saint". A one-letter target therefore matches every word that begins with it.

    Reference: Soft_Injection `utils.py`.
    """
    made = first_line(generated).split("(", 1)[0].strip().replace("St.", "Saint")
    wanted = target.split("(", 1)[0].strip()
    if "capitalize" not in task and "lowercase" not in task:
        made, wanted = made.lower(), wanted.lower()
    return made.startswith(wanted)
