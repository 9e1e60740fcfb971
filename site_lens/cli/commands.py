"""The commands, under one name."""

from pathlib import Path

import typer

from site_lens.cli import comparing, experimenting, exploring, fitting, models, reading, sweeping, tasks
from site_lens.cli.beginning import show_beginning

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
