"""Command line: runs the commands, and turns errors into one line and an exit code."""

import contextlib
import errno
import io
import os
import sys
import warnings
from typing import Any

from site_lens.records.errors import InputError, SiteLensError
from site_lens.records.terminal_escape import visible

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""
MISTAKEN = 2
"""Exit code after a user's mistake."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line, an interruption with 130."""
    try:
        code = _run(arguments)
    except KeyboardInterrupt:  # before a command was running
        code = INTERRUPTED
    if code == INTERRUPTED:
        _print_error("interrupted; what was saved before that can be loaded")
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _complain_of_system(error)
        with contextlib.suppress(OSError):  # the rest is written when Python ends, and would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run a command and return its exit code; an error is printed."""
    import typer  # modules are imported here, where an interruption ends with one line

    from site_lens.cli.commands import app
    from site_lens.cli.output import show_line

    usage_error: Any = typer.BadParameter.__base__  # of typer's click or of click itself, by version
    try:
        _check_output()
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: show_line(f"warning: {message}", aside=True)
            ended = app(arguments, prog_name="site-lens", standalone_mode=False)  # completion uses this name
        return ended if isinstance(ended, int) else 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except SiteLensError as error:
        return _complain(str(error))
    except usage_error as error:
        advice = "" if error.ctx is None else f"; see {error.ctx.command_path} --help"
        return _complain(error.format_message().rstrip(".") + advice)
    except OSError as error:
        return _complain_of_system(error)


def _check_output() -> None:
    """Require an output; escape characters that this terminal cannot show."""
    if sys.stdout is None:
        sys.stdout = sys.stderr
        raise InputError("standard output is closed; send it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str) -> int:
    _print_error(f"error: {visible(message, keep=chr(10))}")
    return MISTAKEN


def _complain_of_system(error: OSError) -> int:
    if error.errno == errno.EPIPE:  # the reader of the output has closed it
        return 1
    action = f"cannot use {error.filename}" if error.filename is not None else "cannot read or write"
    return _complain(f"{action}: {error.strerror or error}")


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError):  # without stderr the exit code is all there is
        print(text, file=sys.stderr)
