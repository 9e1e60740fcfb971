"""Basket panel: keep head sets, and download them as JSON or Python."""

from base64 import b64encode

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.panel import Act, Change, Panel, heading, row, soft, wide
from site_lens.explorer.state import Exploration

FILES = {"JSON": ("head_sets.json", "application/json"), "Python": ("head_sets.py", "text/x-python")}


class BasketPanel(Panel):
    """Buttons that keep the head set or the head, the kept sets, and their text."""

    concerns = ("fit", "basket")

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.add = self.button("Add the head set", "basket", state.keep, button_style="primary")
        self.add_head = self.button("Add the head alone", "basket", state.keep_head)
        self.sets = widgets.Select(rows=5, layout=wide())
        self.remove = self.button("Remove", "basket", self._remove)
        self.format = widgets.ToggleButtons(options=list(FILES), style={"button_width": "6rem"})
        self.text = widgets.Textarea(rows=8, disabled=True, layout=widgets.Layout(width="auto"))
        self.link = widgets.HTML()
        self.kept = widgets.VBox([self.sets, row(self.remove, self.format, self.link), self.text])
        self.note = widgets.HTML()
        self.box.children = [heading("Basket"), row(self.add, self.add_head), self.note, self.kept]
        self.when_set(self.format, "basket", lambda _: None)

    def _remove(self) -> None:
        if self.sets.value is not None:
            self.state.basket.remove(self.sets.value)

    def show(self, change: Change) -> None:
        """List the kept sets and write them out."""
        basket = self.state.basket
        self.kept.layout.display = "" if basket else "none"
        self.note.value = "" if basket else soft("Empty. Sets that you add can be downloaded as JSON or Python.")
        before, known = self.sets.value, {name for _, name in self.sets.options}
        self.sets.options = [(f"{name} ({len(heads)} heads)", name) for name, heads in basket.items()]
        # New options select the first one: select the newest set, or what was selected.
        added = [name for name in basket if name not in known]
        if basket:
            self.sets.value = added[-1] if added else before if before in basket else next(reversed(list(basket)))
        self.text.value = basket.to_json() if self.format.value == "JSON" else basket.to_python()
        name, kind = FILES[self.format.value]
        encoded = b64encode(self.text.value.encode()).decode()
        self.link.value = f'<a download="{name}" href="data:{kind};base64,{encoded}">Download {name}</a>'
