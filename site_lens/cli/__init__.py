"""The command line: parse, call, save, print."""

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import typer

import site_lens as sl
from site_lens.cli import comparing, experimenting, exploring, fitting, models, reading, sweeping, tasks
from site_lens.cli.beginning import show_beginning
from site_lens.core.shown import visible

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""
MISTAKEN = 2
"""Exit code after a user's mistake."""
UsageError: Any = typer.BadParameter.__base__
"""What is raised at options and arguments that are wrong; it comes with typer, or with click, by version."""

app = typer.Typer(
    name="site-lens",
    help="Find which attention heads carry a task. Begin with: site-lens demo",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def begin(context: typer.Context) -> None:
    """Say what to do next where nothing is asked."""
    if context.invoked_subcommand is None:
        show_beginning(Path())


for command in (
    fitting.demo,
    fitting.fit,
    fitting.evaluate,
    comparing.methods,
    comparing.selectors,
    experimenting.transfer,
    experimenting.faithfulness,
    experimenting.sensitivity,
    experimenting.landscape,
    experimenting.profile,
    experimenting.ablate,
    experimenting.combine,
    reading.roles,
    reading.report,
    reading.diagnose,
    reading.compare,
    exploring.explore,
    models.doctor,
    sweeping.sweep,
):
    app.command()(command)
app.add_typer(tasks.app, name="tasks")
app.add_typer(sweeping.app, name="runs")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line, an interruption with 130."""
    try:
        _check_surroundings()
        ended = app(arguments, prog_name="site-lens", standalone_mode=False)  # completion goes by this name
        code = ended if isinstance(ended, int) else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except sl.SiteLensError as error:
        code = _complain(str(error))
    except UsageError as error:
        asked = "" if error.ctx is None else f"; see {error.ctx.command_path} --help"
        code = _complain(error.format_message().rstrip(".") + asked)
    except OSError as error:
        code = _complain_of_system(error)
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
    if sys.stdout is None:
        sys.stdout = sys.stderr
        raise sl.InputError("standard output is closed; send it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        Path.cwd()
    except FileNotFoundError:
        raise sl.InputError("the working folder is gone; change to one that is there") from None


def _complain(message: str) -> int:
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
