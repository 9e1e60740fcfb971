"""What every panel of the explorer has: the state that it shows, and the one way in which it changes it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Literal

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.state import Exploration

Change = Literal["fit", "head", "set", "query", "prompt", "basket"]
"""What a user changed: fit or comparison, head, head set, query, prompt to see attention in, basket."""

Act = Callable[[Change, Callable[[], object]], None]
"""Do something to the state, then show it; a user's mistake is said instead of raised."""


class Panel(ABC):
    """Widgets that show a part of the state; `box` holds them."""

    def __init__(self, state: Exploration, act: Act) -> None:
        self.state = state
        self._act = act
        self._filling = False
        self.box: Any = widgets.VBox([], layout=widgets.Layout(min_width="0"))

    @abstractmethod
    def show(self, change: Change) -> None:
        """Bring the widgets up to the state, as far as the change concerns them."""

    def refresh(self, change: Change) -> None:
        """Show the state; widgets that are set meanwhile do not count as set by the user."""
        self._filling = True
        try:
            self.show(change)
        finally:
            self._filling = False

    def when_set(self, widget: Any, change: Change, do: Callable[[Any], object]) -> None:
        """Hand the value of a widget to `do` when the user sets it."""

        def seen(event: dict[str, Any]) -> None:
            if not self._filling:
                self._act(change, lambda: do(event["new"]))

        widget.observe(seen, "value")

    def when_clicked(self, button: Any, change: Change, do: Callable[[], object]) -> None:
        """Call `do` when a button is clicked."""
        button.on_click(lambda _: self._act(change, do))


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Write an HTML table; all text is escaped, the first cell of a row is its heading."""

    def row(cells: Sequence[str], first: str, other: str) -> str:
        marked = [(first if i == 0 else other, cell) for i, cell in enumerate(cells)]
        return "<tr>" + "".join(f"<{tag}>{_breakable(cell)}</{tag}>" for tag, cell in marked) + "</tr>"

    top = f"<thead>{row(header, 'th', 'th')}</thead>" if header else ""
    return f"<table>{top}<tbody>{''.join(row(cells, 'th', 'td') for cells in rows)}</tbody></table>"


def _breakable(text: str) -> str:
    return escape(text).replace("_", "_<wbr>")


def heading(text: str) -> Any:
    """Build the heading of a panel."""
    return widgets.HTML(f"<h3>{escape(text)}</h3>")


def soft(text: str) -> str:
    """Write a line that stands back."""
    return f'<p class="soft">{escape(text)}</p>'
