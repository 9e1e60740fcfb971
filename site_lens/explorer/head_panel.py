"""One head: what the run says of it, and how its alpha came about."""

from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens import plots
from site_lens.explorer.facts import head_facts
from site_lens.explorer.late_widgets import Canvas
from site_lens.explorer.panel import Act, Change, Panel, heading, soft, table
from site_lens.explorer.state import Exploration
from site_lens.studies.head_profiles.result import HeadProfiles


class HeadPanel(Panel):
    """The profile of the chosen head as a table, and its alpha over steps and seeds."""

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.title = heading("")
        self.facts = widgets.HTML()
        self.figure: Any = Canvas()
        self.box.children = [self.title, self.facts, self.figure]

    def show(self, change: Change) -> None:
        """Show another head, or the same one in another fit."""
        if change not in ("fit", "head"):
            return
        state, head = self.state, self.state.head
        self.title.value = heading(f"{head}: layer {head.layer}, head {head.head}").value
        rows = [(fact.name, fact.value) for fact in head_facts(state.run, state.key, head, other_key=state.other_key)]
        profiled = any(isinstance(study, HeadProfiles) for study in state.run.studies.values())
        self.facts.value = table(rows) + ("" if profiled else soft("No profiles here; site-lens profile adds them."))
        fits = state.run.fits.of(state.fit.task)
        if state.other is not None:
            # Seeds of the same task stand there already.
            fits = [*fits, *(one for one in state.run.fits.of(state.other.task) if one not in fits)]
        shown = [fit for fit in fits if fit.gates.grid == state.fit.gates.grid]
        self.figure.redraw(plots.head_paths(shown, head))
