"""Table of the commands of `site-lens`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from site_lens._version import __version__
from site_lens.cli import compare, doctor, explore, fit, heads, reports, sweep, tasks
from site_lens.cli.welcome import show_welcome
from site_lens.records.study_registry import STUDIES, imported

app = typer.Typer(
    name="site-lens",
    help="Find which attention heads carry a task. Begin with: site-lens demo",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def begin(
    context: typer.Context, version: Annotated[bool, Option("--version", help="Print the version and exit.")] = False
) -> None:
    """Show the welcome screen if there is no command."""
    if version:
        print(f"site_lens {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        show_welcome(Path())


for command in (
    fit.demo,
    fit.fit,
    fit.evaluate,
    compare.methods,
    compare.selectors,
    *(imported(study.command) for study in STUDIES.values() if study.command),
    reports.roles,
    heads.heads,
    reports.report,
    reports.diagnose,
    reports.compare,
    explore.explore,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(tasks.app, name="tasks")
app.add_typer(sweep.app, name="sweep")
app.add_typer(sweep.app, name="runs", hidden=True, callback=sweep.note_old_name)
