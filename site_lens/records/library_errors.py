"""Errors that the system and other libraries raise, translated into one line of ours."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from site_lens.records.errors import SiteLensError, StorageError


@contextmanager
def system_errors(action: str, advice: str = "", *, kind: type[SiteLensError] = StorageError) -> Iterator[None]:
    """Turn an error of the operating system into one of ours: "cannot ACTION: reason", and advice behind it."""
    try:
        yield
    except OSError as error:
        raise kind(f"cannot {action}: {error.strerror or error}{advice}") from error


@contextmanager
def translated_errors(error_for: Callable[[str], SiteLensError]) -> Iterator[None]:
    """Turn any error of another library into an error of ours, chained to theirs.

    Their code is run on configs and weights that it was never tried on, and may raise anything.

    Args:
        error_for: Makes the error from the reason, one line.
    """
    try:
        yield
    except SiteLensError:
        raise
    except Exception as error:
        raise error_for(error_reason(error)) from error


def error_reason(error: Exception) -> str:
    """Return the line of an error that says what is wrong, with its type and place where it says little by itself."""
    lines = str(error).strip().splitlines()
    if isinstance(error, KeyError) or not lines:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f" {lines[0]}" if lines else ""
        return f"{type(error).__name__}{reason} in {frame.name} of {Path(frame.filename).name}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
