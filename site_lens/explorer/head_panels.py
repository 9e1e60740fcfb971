"""Head panels: the head map to click and the cut of the head set, facts about one head, the basket of head sets."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import plotly.graph_objects as go

from site_lens import plots
from site_lens.explorer.facts import head_facts
from site_lens.explorer.panel import Canvas, Change, Panel, heading, row, soft, table, wide
from site_lens.explorer.state import PARTS
from site_lens.heads.head_set import Head
from site_lens.records.wording import listed
from site_lens.studies.head_profiles.result import HeadProfiles

OUTLINE, HALO, CHOSEN = "#111111", "#ffffff", "#D55E00"
"""Black in white shows on every colour of both scales; orange is in neither."""

MOST_NAMED = 24
"""Heads of a set to name in the line below the map."""

MOST_HEIGHT = 600
"""Pixels of the map at most: the slider below it should be in view with it."""

FILES = {"JSON": ("head_sets.json", "application/json"), "Python": ("head_sets.py", "text/x-python")}


class MapPanel(Panel):
    """Dropdowns of fits, the clickable map, and the controls of the head set."""

    concerns = ("fit", "set", "head")

    def build(self) -> None:
        """Build the dropdowns, the map and the controls."""
        state = self.state

        def control(kind: Any, description: str, **options: Any) -> Any:
            style = {"description_width": "6.5rem"}
            return kind(description=description, layout=wide(), style=style, **options)

        self.task = control(widgets.Dropdown, "task", options=list(state.run.fits))
        self.other = control(widgets.Dropdown, "compare with")
        self.answer = widgets.HTML()
        self.figure: Any = Canvas()
        rules = [("alpha above", "threshold"), ("highest k", "top")]
        self.rule = widgets.ToggleButtons(options=rules, style={"button_width": "8rem"})
        self.threshold = control(widgets.FloatSlider, "alpha above", min=0, max=1, step=0.01, continuous_update=False)
        self.k = control(widgets.IntSlider, "k", min=0, continuous_update=False)
        self.part = control(widgets.Dropdown, "heads", options=[(label, part) for part, (label, *_) in PARTS.items()])
        self.head = control(widgets.Text, "head", continuous_update=False)
        self.summary = widgets.HTML()
        self.box.children = [
            self.task, self.other, self.answer, self.figure, self.rule, self.threshold, self.k, self.part,
            self.summary, self.head,
        ]  # fmt: skip
        self.when_set(self.task, "fit", state.select)
        self.when_set(self.other, "fit", lambda key: state.compare(key or None))  # no task has an empty name
        self.when_set(self.rule, "set", lambda rule: state.recut(rule=rule))
        self.when_set(self.threshold, "set", lambda threshold: state.recut(threshold=threshold))
        self.when_set(self.k, "set", lambda k: state.recut(k=k))
        self.when_set(self.part, "set", state.choose_part)
        self.when_set(self.head, "head", state.choose)

    def show(self, change: Change) -> None:
        """Draw the map anew for other fits, and its outlines for another head or head set."""
        state = self.state
        if change == "fit":
            self.task.value = state.key
            self.other.options = [("nothing", ""), *((key, key) for key in state.comparable())]
            self.other.value = state.other_key or ""
            path = state.run.paths.get(state.fit.task)
            self.answer.value = "" if path is None else soft(path.sentence)
            self.k.max = len(state.fit.gates.grid)
            self._draw()
        if change in ("fit", "set"):
            self._show_cut()
        self._outline()
        self.head.value = str(state.head)

    def _draw(self) -> None:
        fit, other = self.state.fit, self.state.other
        figure = plots.head_map(fit)
        if other is not None:
            axis = figure.layout.xaxis  # key-value heads are grouped in a difference, too
            shapes, standoff, title = figure.layout.shapes, axis.ticklabelstandoff, axis.title.text
            figure = plots.head_difference(fit, other)
            figure.update_layout(shapes=shapes, xaxis={"ticklabelstandoff": standoff, "title": {"text": title}})
        figure.layout.height, figure.layout.width = min(figure.layout.height, MOST_HEIGHT), None
        thin = min(1, 20 / max(fit.gates.grid.shape))  # else outlines would cover the cells of a large map
        for name, colour, width in (("halo", HALO, 4.5 * thin), ("set", OUTLINE, 2 * thin), ("chosen", CHOSEN, 3.5)):
            figure.add_trace(
                go.Scatter(name=name, mode="lines", line={"color": colour, "width": width}, hoverinfo="skip",
                           showlegend=False)
            )  # fmt: skip
        self.figure.redraw(figure)
        # Clicks reach Python through the trace that was hit, which is new after every drawing.
        self.figure.data[0].on_click(self._clicked)

    def _clicked(self, trace: object, points: Any, device: object) -> None:
        if points.xs:
            layer, head = int(points.ys[0]), int(points.xs[0])
            self._act("head", lambda: self.state.choose(Head(layer, head)))

    def _outline(self) -> None:
        heads, chosen = self.state.head_set(), [self.state.head]
        lines = {"halo": outlines({*heads, *chosen}), "set": outlines(heads), "chosen": outlines(chosen)}
        with self.figure.batch_update():
            for trace in self.figure.data:
                if trace.name in lines:
                    trace.x, trace.y = lines[trace.name]
        self.figure.hand_over()

    def _show_cut(self) -> None:
        cut = self.state.cut
        self.rule.value, self.threshold.value, self.k.value = cut.rule, cut.threshold, min(cut.k, self.k.max)
        self.part.value = self.state.part
        for widget, is_shown in (
            (self.threshold, cut.rule == "threshold"), (self.k, cut.rule == "top"),
            (self.part, self.state.other is not None),
        ):  # fmt: skip
            widget.layout.display = "" if is_shown else "none"
        heads = self.state.head_set()
        named = listed(heads, MOST_NAMED)
        start = "start kept, no map: all alphas are alike. " if self.state.fit.gates.is_flat else ""
        self.summary.value = soft(f"{start}{len(heads)} of {len(heads.grid)} heads outlined: {named or 'none'}")


def outlines(heads: Iterable[Head]) -> tuple[list[float | None], list[float | None]]:
    """Return x and y of squares around cells of a map, one line with gaps; its cost does not grow with shapes."""
    x: list[float | None] = []
    y: list[float | None] = []
    for head in heads:
        left, right, low, high = head.head - 0.44, head.head + 0.44, head.layer - 0.44, head.layer + 0.44
        x += [left, right, right, left, left, None]
        y += [low, low, high, high, low, None]
    return x, y


class HeadPanel(Panel):
    """Facts about the chosen head as a table, and its alpha over steps and seeds."""

    concerns = ("fit", "head")

    def build(self) -> None:
        """Build title, table and figure."""
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


class BasketPanel(Panel):
    """Buttons that keep the head set or the head, the kept sets, and their text."""

    concerns = ("fit", "basket")

    def build(self) -> None:
        """Build the buttons, the list of sets and their text."""
        self.add = self.button("Add the head set", "basket", self.state.keep, button_style="primary")
        self.add_head = self.button("Add the head alone", "basket", self.state.keep_head)
        self.sets = widgets.Select(rows=5, layout=wide())
        self.remove = self.button("Remove", "basket", lambda: self.state.basket.pop(self.sets.value, None))
        self.format = widgets.ToggleButtons(options=list(FILES), style={"button_width": "6rem"})
        self.text = widgets.Textarea(rows=8, disabled=True, layout=widgets.Layout(width="auto"))
        self.link = widgets.HTML()
        self.kept = widgets.VBox([self.sets, row(self.remove, self.format, self.link), self.text])
        self.note = widgets.HTML()
        self.box.children = [heading("Basket"), row(self.add, self.add_head), self.note, self.kept]
        self.when_set(self.format, "basket", lambda _: None)

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
