"""The errors that site_lens raises: each says what was wrong, what came, and what to do."""

from collections.abc import Iterable

from site_lens.records.suggestions import did_you_mean
from site_lens.records.terminal_escape import visible
from site_lens.records.wording import listed


class SiteLensError(Exception):
    """Base of every error that site_lens raises on purpose.

    Its text may quote names and files of others; whatever would act on a terminal is shown as its escape.
    """

    def __str__(self) -> str:
        return visible(Exception.__str__(self), keep="\n")


class InputError(SiteLensError, ValueError):
    """A value handed in by the caller cannot be used as it is."""


class TaskFileError(InputError):
    """A task file is missing, malformed or too small; the message names file and row."""


class MismatchError(SiteLensError, ValueError):
    """A record does not belong to the model, grid or task that it is used with."""


class StorageError(SiteLensError, RuntimeError):
    """A saved record cannot be read (truncated, edited, newer) or written."""


class ModelError(SiteLensError, RuntimeError):
    """A model cannot be hooked correctly; the message carries the measured gap."""


class AdapterError(InputError, ModelError):
    """A model comes with an adapter: it must be merged before the model is handed in, and cannot be hooked as it is."""


class FitError(SiteLensError, RuntimeError):
    """A fit went wrong; `fits` holds what was reached by every fit of the batch."""

    def __init__(self, message: str, fits: object = None) -> None:
        super().__init__(message)
        self.fits = fits


class NoHeadSetError(FitError):
    """No head set does better than zero-shot on valid: an answer, which is noted where several methods are compared."""


class UnknownNameError(InputError, KeyError):
    """A name that is not known; a KeyError, too, so that `get` and `in` of a mapping treat it as one."""

    __str__ = SiteLensError.__str__  # KeyError would show the repr of the message


def unknown_name(kind: str, name: str, known: Iterable[str], advice: str = "") -> UnknownNameError:
    """Build the error for a name that is not known, with the nearest known ones.

    Args:
        kind: What the name stands for, such as "task".
        name: The name that came.
        known: Every name that would have worked.
        advice: A closing sentence on what to do.
    """
    names = sorted(known)
    hint = did_you_mean(name, names) or f"known: {listed(names)}"
    return UnknownNameError(f"unknown {kind} {name!r}; {hint} {advice}".rstrip())
