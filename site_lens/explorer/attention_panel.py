"""Attention panel: attention of the chosen head, in any text with a model, in the saved samples without."""

from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.late_widgets import AttentionView
from site_lens.explorer.panel import Act, Change, Panel, heading, row, soft
from site_lens.explorer.state import Exploration
from site_lens.report.figures import attention_properties

STYLE = {"description_width": "4rem"}
READING = "without any edit: each row is what one token attends to."


class AttentionPanel(Panel):
    """A prompt, and the attention of the chosen head in it."""

    concerns = ("fit", "head", "query", "prompt", "model")

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.text = widgets.Textarea(
            description="prompt", rows=5, continuous_update=False, layout=widgets.Layout(width="auto"), style=STYLE
        )
        self.fill = row()
        self.sample = widgets.Dropdown(description="prompt", style=STYLE)
        self.view: Any = AttentionView()
        self.view.add_class("attention")
        self.note = widgets.HTML()
        self.when_set(self.text, "prompt", lambda _: None)
        self.when_set(self.sample, "prompt", lambda _: None)

    def show(self, change: Change) -> None:
        """Show the attention of another head, or in another prompt."""
        if change in ("fit", "model"):
            chooser: list[Any] = [self.sample] if self.state.live is None else [self.text, self.fill]
            self.box.children = [heading("Attention"), *chooser, self.note, self.view]
        if self.state.live is None:
            self.note.value, self.view.properties = self._of_sample(change)
        else:
            self.note.value, self.view.properties = self._of_text(change)

    def _of_text(self, change: Change) -> tuple[str, dict[str, Any]]:
        live, head = self.state.live, self.state.head
        assert live is not None
        if change in ("fit", "query", "model") and self.state.query.strip():
            prompts = live.prompts(self.state.fit, self.state.query)
            self.fill.children = [self._prompt_button(name, text) for name, text in prompts.items()]
            self.text.value = prompts["zero_shot"]
        if not self.text.value.strip():
            return soft("Type a prompt."), {}
        tokens, pattern = live.attention(self.text.value, head)
        return soft(f"{head} on {len(tokens)} tokens, {READING}"), attention_properties(tokens, pattern)

    def _prompt_button(self, name: str, text: str) -> Any:
        """Build a button that fills in a prompt, which counts as typed."""
        button = widgets.Button(description=f"{name.replace('_', '-')} prompt", layout=widgets.Layout(width="auto"))
        button.on_click(lambda _: self.text.set_trait("value", text))
        return button

    def _of_sample(self, change: Change) -> tuple[str, dict[str, Any]]:
        task, head = self.state.fit.task, str(self.state.head)
        if task not in self.state.run.attention:
            self.sample.options = []
            return soft("No attention was saved for this task; pass a model to see it in any prompt."), {}
        sample = self.state.run.attention[task]
        if change == "fit":
            self.sample.options = [(f"with {n} demonstrations", i) for i, n in enumerate(sample.n_shots)]
            self.sample.value = 0
        if head not in sample.heads:
            saved = f"Attention was saved for {', '.join(sample.heads)} alone"
            return soft(f"{saved}; click one of them, or pass a model to see that of {head}."), {}
        i: int = self.sample.value
        pattern = sample.pattern(i)[sample.heads.index(head)]
        return soft(f"{head} on a saved prompt, {READING}"), attention_properties(sample.tokens[i], pattern)
