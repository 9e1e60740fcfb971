"""The basket: keep head sets, and take them along as JSON or Python."""

from base64 import b64encode

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.panel import Act, Change, Panel, heading, soft
from site_lens.explorer.state import Exploration

AUTO = widgets.Layout(width="auto")
FILES = {"JSON": ("head_sets.json", "application/json"), "Python": ("head_sets.py", "text/x-python")}


class BasketPanel(Panel):
    """Buttons that keep what is looked at, the kept sets, and their text."""

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.add = widgets.Button(description="Add the head set", button_style="primary", layout=AUTO)
        self.add_head = widgets.Button(description="Add the head alone", layout=AUTO)
        self.sets = widgets.Select(rows=5, layout=widgets.Layout(width="auto", max_width="30rem"))
        self.remove = widgets.Button(description="Remove", layout=AUTO)
        self.format = widgets.ToggleButtons(options=list(FILES), style={"button_width": "6rem"})
        self.text = widgets.Textarea(rows=8, disabled=True, layout=widgets.Layout(width="auto"))
        self.link = widgets.HTML()
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        self.kept = widgets.VBox(
            [self.sets, widgets.HBox([self.remove, self.format, self.link], layout=row), self.text]
        )
        self.note = widgets.HTML()
        buttons = widgets.HBox([self.add, self.add_head], layout=row)
        self.box.children = [heading("Basket"), buttons, self.note, self.kept]
        self.when_clicked(self.add, "basket", state.keep)
        self.when_clicked(self.add_head, "basket", state.keep_head)
        self.when_clicked(self.remove, "basket", self._remove)
        self.when_set(self.format, "basket", lambda _: None)

    def _remove(self) -> None:
        if self.sets.value is not None:
            self.state.basket.remove(self.sets.value)

    def show(self, change: Change) -> None:
        """List the kept sets and write them out."""
        if change not in ("fit", "basket"):
            return
        basket = self.state.basket
        self.kept.layout.display = "" if basket else "none"
        self.note.value = "" if basket else soft("Empty. What you add here can be taken along as JSON or Python.")
        self.sets.options = [(f"{name} ({len(heads)} heads)", name) for name, heads in basket.items()]
        if basket and self.sets.value is None:
            self.sets.value = next(reversed(list(basket)))
        text = basket.to_json() if self.format.value == "JSON" else basket.to_python() + "\n"
        self.text.value = text
        name, kind = FILES[self.format.value]
        encoded = b64encode(text.encode()).decode()
        self.link.value = f'<a download="{name}" href="data:{kind};base64,{encoded}">Download {name}</a>'
