"""Widgets of large scripts that start late rather than never: figures and attention patterns."""

from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets

from site_lens.records.assets import asset
from site_lens.report.page import circuitsvis_bundle

_LATE = asset("late_widget.js")


class Canvas(go.FigureWidget):  # type: ignore[misc]  # plotly ships no types
    """Plotly's own widget, whose script is handed to `late_widget.js`; as wide as its place."""

    _esm = _LATE
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

    _esm = _LATE
    bundle = traitlets.Unicode(circuitsvis_bundle() + asset("attention_view.js")).tag(sync=True)
    bundle_name = traitlets.Unicode("circuitsvis").tag(sync=True)
    properties: Any = traitlets.Dict().tag(sync=True)
    """What circuitsvis is handed; nothing is drawn while it is empty."""
