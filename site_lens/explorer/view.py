"""Explorer widget: its panels, and the one place where a change is made and shown."""

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.attention_panel import AttentionPanel
from site_lens.explorer.basket import Basket
from site_lens.explorer.basket_panel import BasketPanel
from site_lens.explorer.head_panel import HeadPanel
from site_lens.explorer.live_panel import LivePanel
from site_lens.explorer.map_panel import MapPanel
from site_lens.explorer.panel import Change, soft
from site_lens.explorer.state import Exploration
from site_lens.heads.head_set import HeadSet
from site_lens.records.assets import asset
from site_lens.records.errors import SiteLensError


class Explorer:
    """The explorer; the last line of a cell shows it.

    Args:
        state: What is looked at; it can be read and changed from Python, too, followed by `refresh()`.
    """

    def __init__(self, state: Exploration) -> None:
        self.state = state
        self.map = MapPanel(state, self._act)
        self.head = HeadPanel(state, self._act)
        self.live = LivePanel(state, self._act)
        self.attention = AttentionPanel(state, self._act)
        self.kept = BasketPanel(state, self._act)
        self._panels = (self.map, self.head, self.live, self.attention, self.kept)
        self.message = widgets.HTML()
        """Message of the last mistake; empty without one."""
        beside = widgets.Layout(
            grid_template_columns="repeat(auto-fit, minmax(min(100%, 26rem), 1fr))",  # below each other if narrow
            grid_gap="1rem 2rem", align_items="flex-start",
        )  # fmt: skip
        pairs = ((self.map, self.head), (self.live, self.attention))
        rows = [widgets.GridBox([panel.box for panel in pair], layout=beside) for pair in pairs]
        self.box: Any = widgets.VBox([_header(state), self.message, *rows, self.kept.box])
        self.box.add_class("site-lens")
        self.refresh()

    @property
    def basket(self) -> Basket:
        """The head sets that were kept."""
        return self.state.basket

    @property
    def head_set(self) -> HeadSet:
        """The heads that are outlined."""
        return self.state.head_set()

    def refresh(self) -> None:
        """Show the state as it is."""
        self._act("fit", lambda: None)

    def _act(self, change: Change, do: Callable[[], object]) -> None:
        self.message.value = ""
        steps: list[Callable[[], object]] = [do, *(partial(panel.refresh, change) for panel in self._panels)]
        for step in steps:
            try:
                step()
            except SiteLensError as error:
                self.message.value = f'<p class="complaint" role="alert">{escape(str(error))}</p>'
                if step is do:  # nothing was changed; after a panel the others have something to show all the same
                    return

    def _repr_mimebundle_(self, **options: Any) -> Mapping[str, Any]:
        bundle: Mapping[str, Any] = self.box._repr_mimebundle_(**options)
        return bundle


def _header(state: Exploration) -> Any:
    """Name the model, and list what makes results hard to believe."""
    model = state.fit.embedding.model
    facts = f"{len(state.run.fits)} fits on {model.short_name}, {model.grid}; "
    facts += "no model loaded" if state.live is None else "the model is loaded"
    notes = "" if state.live is None else "".join(f"<li>{escape(note)}</li>" for note in state.live.notes)
    title = f"<style>{asset('explorer.css')}</style><h2>Which heads carry the task?</h2>{soft(facts)}"
    return widgets.HTML(title + (f"<ul>{notes}</ul>" if notes else ""))
