"""The command line: parse, call, save, print."""

import contextlib
import errno
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""
MISTAKEN = 2
"""Exit code after a user's mistake."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line, an interruption with 130."""
    try:
        from site_lens.cli.commands import app  # only here: whoever interrupts the start gets one line, too
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    from site_lens.cli.output import show_line
    from site_lens.records.errors import SiteLensError

    code = 0
    try:
        _check_surroundings()
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: show_line(f"warning: {message}", aside=True)
            ended = app(arguments, prog_name="site-lens", standalone_mode=False)  # completion goes by this name
        code = ended if isinstance(ended, int) else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except SiteLensError as error:
        code = _complain(str(error))
    except _usage_error() as error:
        asked = "" if error.ctx is None else f"; see {error.ctx.command_path} --help"
        code = _complain(error.format_message().rstrip(".") + asked)
    except OSError as error:
        code = _complain_of_system(error)
    except KeyboardInterrupt:  # before a command was there to be interrupted
        code = INTERRUPTED
    if code == INTERRUPTED:
        _say("interrupted; what was saved before that can be loaded")
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _complain_of_system(error)
        with contextlib.suppress(OSError):  # what is left is written when Python ends, and would complain again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _check_surroundings() -> None:
    """Refuse to work where nothing can be said or found, and let no letter end a command that this terminal lacks."""
    from site_lens.records.errors import InputError

    if sys.stdout is None:
        sys.stdout = sys.stderr
        raise InputError("standard output is closed; send it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError("the working folder is gone; change to one that is there") from None


def _usage_error() -> Any:
    """Return what is raised at options and arguments that are wrong; it comes with typer, or with click, by version."""
    import typer

    return typer.BadParameter.__base__


def _complain(message: str) -> int:
    from site_lens.records.terminal_escape import visible

    _say(f"error: {visible(message, keep=chr(10))}")
    return MISTAKEN


def _complain_of_system(error: OSError) -> int:
    if error.errno == errno.EPIPE:  # whoever read the output has seen enough
        return 1
    what = f"cannot use {error.filename}" if error.filename is not None else "cannot read or write"
    return _complain(f"{what}: {error.strerror or error}")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # there is nowhere else to say it; the exit code does
        print(text, file=sys.stderr)


def __getattr__(name: str) -> Any:
    """Load the commands when somebody asks for them (PEP 562)."""
    if name != "app":
        raise AttributeError(f"module 'site_lens.cli' has no attribute {name!r}")
    from site_lens.cli.commands import app

    return app
