"""Panel of the explorer: widgets for a part of the state, and the one way in which they change it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, ClassVar, Literal

import anywidget
import ipywidgets as widgets  # type: ignore[import-untyped]
import plotly.graph_objects as go
import traitlets

from site_lens.explorer.state import Exploration
from site_lens.records.assets import asset
from site_lens.report.page import circuitsvis_bundle

Change = Literal["fit", "head", "set", "query", "prompt", "basket", "model"]
"""What was changed: fit or comparison, head, head set, query, prompt to see attention in, basket; the model came in."""

Act = Callable[[Change, Callable[[], object]], None]
"""Change the state, then show it; a user's mistake is shown instead of raised."""

LATE = asset("late_widget.js")
"""Start of widgets of large scripts, late rather than never."""


class Panel(ABC):
    """Widgets that show a part of the state; `box` holds them."""

    concerns: ClassVar[tuple[Change, ...]] = ()
    """Changes after which the panel is shown again."""

    def __init__(self, state: Exploration, act: Act) -> None:
        self.state = state
        self._act = act
        self._filling = False
        self.box: Any = widgets.VBox([], layout=widgets.Layout(min_width="0"))
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Build the widgets."""

    @abstractmethod
    def show(self, change: Change) -> None:
        """Bring the widgets up to the state."""

    def refresh(self, change: Change) -> None:
        """Show the state if the change concerns it; widgets that are set meanwhile do not count as set by the user."""
        if change not in self.concerns:
            return
        self._filling = True
        try:
            self.show(change)
        finally:
            self._filling = False

    def when_set(self, widget: Any, change: Change, do: Callable[[Any], object]) -> None:
        """Hand the value of a widget to `do` when the user sets it."""

        def observer(event: dict[str, Any]) -> None:
            if not self._filling:
                self._act(change, lambda: do(event["new"]))

        widget.observe(observer, "value")

    def button(self, text: str, change: Change, do: Callable[[], object], **options: Any) -> Any:
        """Build a button that calls `do`."""
        button = widgets.Button(description=text, layout=widgets.Layout(width="auto"), **options)
        button.on_click(lambda _: self._act(change, do))
        return button


def wide() -> Any:
    """Build the layout of a control; each widget needs its own, as some are hidden at times."""
    return widgets.Layout(width="auto", max_width="30rem")


def row(*children: Any) -> Any:
    """Put widgets beside each other, wrapped where there is no room."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Write an HTML table; all text is escaped, the first cell of a row is its heading."""

    def line(cells: Sequence[str], tag: str) -> str:
        first, *others = (escape(cell).replace("_", "_<wbr>") for cell in cells)
        return f"<tr><th>{first}</th>{''.join(f'<{tag}>{cell}</{tag}>' for cell in others)}</tr>"

    top = f"<thead>{line(header, 'th')}</thead>" if header else ""
    return f"<table>{top}<tbody>{''.join(line(cells, 'td') for cells in rows)}</tbody></table>"


def heading(text: str) -> Any:
    """Build the heading of a panel."""
    return widgets.HTML(f"<h3>{escape(text)}</h3>")


def soft(text: str) -> str:
    """Write a line in a subdued style."""
    return f'<p class="soft">{escape(text)}</p>'


class Canvas(go.FigureWidget):  # type: ignore[misc]  # plotly ships no types
    """Plotly's own widget, whose script is handed to `late_widget.js`; as wide as its place."""

    _esm = LATE
    bundle = traitlets.Unicode(str(go.FigureWidget._esm)).tag(sync=True)
    bundle_name = traitlets.Unicode("plotly").tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._config = {"displayModeBar": False, "responsive": True}

    def redraw(self, figure: go.Figure) -> None:
        """Show another figure; a new widget would send the script again.

        Plotly merges layouts: shapes of the last figure stay where the new one has none.
        """
        self.data = ()
        self.layout = figure.layout
        self.add_traces(figure.data)
        self.hand_over()

    def hand_over(self) -> None:
        """Make what was drawn so far the state that a browser finds when it opens the widget, now or later."""
        self._repr_mimebundle_()  # at which moment plotly does so, and at no other


class AttentionView(anywidget.AnyWidget):
    """Circuitsvis' `AttentionPattern` as a widget, from the bundle that is installed."""

    _esm = LATE
    bundle = traitlets.Unicode(circuitsvis_bundle() + asset("attention_view.js")).tag(sync=True)
    bundle_name = traitlets.Unicode("circuitsvis").tag(sync=True)
    properties: Any = traitlets.Dict().tag(sync=True)
    """What circuitsvis is handed; nothing is drawn while it is empty."""
