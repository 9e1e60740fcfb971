"""The command line: parse, call, save, print."""

import sys
import warnings
from pathlib import Path

import typer

import site_lens as sl
from site_lens.cli import comparing, experimenting, exploring, fitting, models, reading, sweeping, tasks
from site_lens.cli.beginning import show_beginning
from site_lens.cli.showing import show_line

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""

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
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: show_line(f"warning: {message}", aside=True)
            app(arguments, prog_name="site-lens")  # also as python -m site_lens.cli; completion goes by this name
    except sl.SiteLensError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; what was saved before that can be loaded", file=sys.stderr)
        raise
