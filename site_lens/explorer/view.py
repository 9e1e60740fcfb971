"""Explorer widget: its panels, and the one place where a change is made and shown."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.head_panels import BasketPanel, HeadPanel, MapPanel
from site_lens.explorer.model_panels import AttentionPanel, LivePanel
from site_lens.explorer.panel import Change, soft
from site_lens.explorer.state import Basket, Exploration
from site_lens.heads.head_set import HeadSet
from site_lens.records.assets import asset
from site_lens.records.errors import SiteLensError

if TYPE_CHECKING:
    from site_lens.methods.live import LiveModel


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
        self.header = widgets.HTML()
        """Name of the model, and what makes results hard to believe."""
        self.box: Any = widgets.VBox([self.header, self.message, *rows, self.kept.box])
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

    def await_model(self, name: str, load: Callable[[], "LiveModel"]) -> None:
        """Load a model in a thread, with the records to look at meanwhile, and let it answer when it is there.

        Needs the event loop of a kernel. What goes wrong is shown as the message, and the records stay.

        Args:
            name: Name of the model, which is shown.
            load: Loads the model.
        """
        self.state.awaited = name
        self._act("model", lambda: None)
        asyncio.get_running_loop().run_in_executor(None, load).add_done_callback(self._model_came)

    def _model_came(self, loading: "asyncio.Future[LiveModel]") -> None:
        self.state.awaited = None
        error = loading.exception()
        if error is None:
            self._act("model", lambda: self.state.attach(loading.result()))
            return
        self._act("model", lambda: None)
        if isinstance(error, SiteLensError):
            self._complain(str(error))
        else:
            self._complain(f"{type(error).__name__}: {error}")
            raise error  # for the log of the event loop, with the place

    def _complain(self, text: str) -> None:
        self.message.value = f'<p class="complaint" role="alert">{escape(text)}</p>'

    def _act(self, change: Change, do: Callable[[], object]) -> None:
        self.message.value = ""
        panels = (partial(panel.refresh, change) for panel in self._panels)
        steps: list[Callable[[], object]] = [do, partial(self._show_header, change), *panels]
        for step in steps:
            try:
                step()
            except SiteLensError as error:
                self._complain(str(error))
                if step is do:  # nothing was changed; after a panel the others have something to show all the same
                    return

    def _show_header(self, change: Change) -> None:
        if change not in ("fit", "model"):
            return
        state, model = self.state, self.state.fit.embedding.model
        awaited = "no model loaded" if state.awaited is None else f"loading {state.awaited} ..."
        loaded = awaited if state.live is None else "the model is loaded"
        facts = f"{len(state.run.fits)} fits on {model.short_name}, {model.grid}; {loaded}"
        notes = "" if state.live is None else "".join(f"<li>{escape(note)}</li>" for note in state.live.notes)
        title = f"<style>{asset('explorer.css')}</style><h2>Which heads carry the task?</h2>{soft(facts)}"
        self.header.value = title + (f"<ul>{notes}</ul>" if notes else "")

    def _repr_mimebundle_(self, **options: Any) -> Mapping[str, Any]:
        bundle: Mapping[str, Any] = self.box._repr_mimebundle_(**options)
        return bundle
