"""Head panel: the facts about one head, and its alpha over the steps of the fits."""

from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens import plots
from site_lens.explorer.facts import head_facts
from site_lens.explorer.late_widgets import Canvas
from site_lens.explorer.panel import Act, Change, Panel, heading, soft, table
from site_lens.explorer.state import Exploration
from site_lens.studies.head_profiles.result import HeadProfiles


class HeadPanel(Panel):
    """Facts about the chosen head as a table, and its alpha over steps and seeds."""

    concerns = ("fit", "head")

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.title = heading("")
        self.facts = widgets.HTML()
        self.figure: Any = Canvas()
        self.box.children = [self.title, self.facts, self.figure]

    def show(self, change: Change) -> None:
        """Show another head, or the same one in another fit."""
        state, head = self.state, self.state.head
        self.title.value = heading(f"{head}: layer {head.layer}, head {head.head}").value
        facts = head_facts(state.run, state.key, head, other_key=state.other_key)
        profiled = any(isinstance(study, HeadProfiles) for study in state.run.studies.values())
        advice = "" if profiled else soft("No profiles here; site-lens profile adds them.")
        self.facts.value = table(facts.items()) + advice
        tasks = dict.fromkeys(fit.task for fit in (state.fit, state.other) if fit is not None)
        fits = [fit for task in tasks for fit in state.run.fits.of(task) if fit.gates.grid == state.fit.gates.grid]
        self.figure.redraw(plots.head_paths(fits, head))
