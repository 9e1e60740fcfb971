"""What the chosen head attends to: in any text with a model, in the saved samples without."""

from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.late_widgets import AttentionView
from site_lens.explorer.panel import Act, Change, Panel, heading, soft
from site_lens.explorer.state import Exploration
from site_lens.report.figures import attention_properties


class AttentionPanel(Panel):
    """A prompt, and the attention of the chosen head in it."""

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self._sample = 0
        self.text = widgets.Textarea(
            description="prompt", rows=5, continuous_update=False, layout=widgets.Layout(width="auto"),
            style={"description_width": "4rem"},
        )  # fmt: skip
        self.fill = widgets.HBox([], layout=widgets.Layout(flex_flow="row wrap"))
        self.sample = widgets.Dropdown(description="prompt", style={"description_width": "4rem"})
        self.view: Any = AttentionView()
        self.view.add_class("attention")
        self.note = widgets.HTML()
        chooser: list[Any] = [self.sample] if state.live is None else [self.text, self.fill]
        self.box.children = [heading("Attention"), *chooser, self.note, self.view]
        self.when_set(self.text, "prompt", lambda _: None)
        self.when_set(self.sample, "prompt", self._choose_sample)

    def _choose_sample(self, index: int) -> None:
        self._sample = index

    def show(self, change: Change) -> None:
        """Show the attention of another head, or in another prompt."""
        if change not in ("fit", "head", "query", "prompt"):
            return
        if self.state.live is None:
            self._show_sample(change)
            return
        if change in ("fit", "query") and self.state.query.strip():
            prompts = self.state.live.prompts(self.state.fit, self.state.query)
            self.fill.children = [self._filling_button(name, text) for name, text in prompts.items()]
            self.text.value = prompts["zero_shot"]
        self._show_text()

    def _filling_button(self, name: str, text: str) -> Any:
        button = widgets.Button(description=f"{name.replace('_', '-')} prompt", layout=widgets.Layout(width="auto"))

        def fill() -> None:
            self.text.value = text

        button.on_click(lambda _: fill())
        return button

    def _show_text(self) -> None:
        live, head = self.state.live, self.state.head
        if live is None or not self.text.value.strip():
            self._nothing("Type a prompt.")
            return
        tokens, pattern = live.attention(self.text.value, head)
        self.note.value = soft(
            f"{head} on {len(tokens)} tokens, without any edit: each row is what one token attends to."
        )
        self.view.properties = attention_properties(tokens, pattern)

    def _show_sample(self, change: Change) -> None:
        task, name = self.state.fit.task, str(self.state.head)
        if task not in self.state.run.attention:
            self.sample.options = []
            self._nothing("No attention was saved for this task; hand in a model to see it in any prompt.")
            return
        sample = self.state.run.attention[task]
        if change == "fit":
            self._sample = 0
            self.sample.options = [(f"with {n} demonstrations", i) for i, n in enumerate(sample.n_shots)]
        self.sample.value = self._sample
        if name not in sample.heads:
            self._nothing(
                f"Attention was saved for {', '.join(sample.heads)} alone; click one of them, or hand in a model to "
                f"see that of {name}."
            )
            return
        i = sample.heads.index(name)
        self.note.value = soft(f"{name} on a saved prompt, without any edit: each row is what one token attends to.")
        self.view.properties = attention_properties(sample.tokens[self._sample], sample.pattern(self._sample)[i])

    def _nothing(self, why: str) -> None:
        self.note.value = soft(why)
        self.view.properties = {}
