"""Live and attention panels: answers and attention, from a live model, or as they were saved in the run."""

from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.panel import AttentionView, Change, Panel, heading, row, soft, table, wide
from site_lens.records.errors import SiteLensError
from site_lens.report.examples import examples
from site_lens.report.figures import attention_properties

STYLE = {"description_width": "4rem"}
READING = "without any edit: each row is what one token attends to."


class LivePanel(Panel):
    """A query, and a table of each method's answer to it and accuracy."""

    concerns = ("fit", "set", "query", "model")

    def build(self) -> None:
        """Build the field of the query, the box to tick and the table."""
        self.query = widgets.Combobox(
            description="query", continuous_update=False, ensure_option=False, layout=wide(), style=STYLE
        )
        self.rounded = widgets.Checkbox(description="replace these heads wholly (alpha 1)", indent=False)
        self.results = widgets.HTML()
        self.when_set(self.query, "query", lambda query: setattr(self.state, "query", query))
        self.when_set(self.rounded, "set", lambda rounded: setattr(self.state, "rounded", rounded))

    def show(self, change: Change) -> None:
        """Ask again for another fit, head set or query; without a model, show the answers that were kept."""
        if self.state.live is None:
            if change in ("fit", "model"):
                self.box.children = [heading("What the model said"), self.results]
                self.results.value = self._kept()
            return
        if change in ("fit", "model"):
            self.box.children = [heading("Ask the model"), self.query, self.rounded, self.results]
            self.query.options = self.state.queries()
        self.query.value, self.rounded.value = self.state.query, self.state.rounded
        self.results.value = soft("Asking ...")
        try:
            self.results.value = self._results()
        except SiteLensError:
            self.results.value = soft("No answer.")  # the message is shown on top
            raise

    def _kept(self) -> str:
        evaluations = self.state.run.evaluations
        evaluation = None if evaluations is None else evaluations.get(self.state.fit.task)
        advice = soft(
            "For other queries and heads, pass a model: sl.explore(run, model), or --model."
            if self.state.awaited is None
            else f"Other queries and heads can be asked as soon as {self.state.awaited} is loaded."
        )
        if evaluation is None or not evaluation.answers:
            return soft("No answers were kept.") + advice
        (shown,) = examples([evaluation])
        rows = [
            (query, target, *(f"{answer} \N{CHECK MARK}" if right else answer for answer, right in answers))
            for query, target, answers in shown["rows"]
        ]
        return table(rows, header=("query", "expected", *shown["methods"])) + advice

    def _results(self) -> str:
        state, live = self.state, self.state.live
        assert live is not None
        gates, query = state.gates(), state.query
        accuracies = live.accuracies(state.fit, gates)
        answers = live.answers(state.fit, query, gates) if query.strip() else {}
        labels = {"injected": f"injected at {len(state.head_set())} heads"}
        rows = [
            (labels.get(name, name.replace("_", "-")), str(accuracies.get(name, "")), answers.get(name, ""))
            for name in (answers or accuracies)
        ]
        expected = live.expected(state.fit, query)
        lines = [f"expected: {' or '.join(expected)}"] if expected else []
        n = next((accuracy.n for accuracy in accuracies.values()), 0)
        told = f"first-token accuracy on {n} test queries, with Wilson's 95% interval"
        lines.append(told if n else "no accuracy: the rows of this task are not known; pass tasks=...")
        header = ("", "accuracy", f"answer to {query!r}" if query.strip() else "answer")
        return table(rows, header=header) + "".join(map(soft, lines))


class AttentionPanel(Panel):
    """A prompt, and the attention of the chosen head in it."""

    concerns = ("fit", "head", "query", "prompt", "model")

    def build(self) -> None:
        """Build the fields of the prompt, and what draws attention."""
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
        of_prompt = self._of_sample if self.state.live is None else self._of_text
        self.note.value, self.view.properties = of_prompt(change)

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
