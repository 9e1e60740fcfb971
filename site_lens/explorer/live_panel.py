"""Live panel: accuracy and answers of prompting and of the chosen heads, from a live model."""

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.panel import Act, Change, Panel, heading, soft, table, wide
from site_lens.explorer.state import Exploration
from site_lens.records.errors import SiteLensError
from site_lens.report.examples import examples


class LivePanel(Panel):
    """A query, and a table of each method's answer to it and accuracy."""

    concerns = ("fit", "set", "query", "model")

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.query = widgets.Combobox(
            description="query", continuous_update=False, ensure_option=False, layout=wide(),
            style={"description_width": "4rem"},
        )  # fmt: skip
        self.rounded = widgets.Checkbox(description="replace these heads wholly (alpha 1)", indent=False)
        self.results = widgets.HTML()
        self.when_set(self.query, "query", lambda query: setattr(state, "query", query))
        self.when_set(self.rounded, "set", lambda rounded: setattr(state, "rounded", rounded))

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
            for query, target, answers in shown.rows
        ]
        return table(rows, header=("query", "expected", *shown.methods)) + advice

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
        if accuracies:
            n = next(iter(accuracies.values())).n
            lines += [f"first-token accuracy on {n} test queries, with Wilson's 95% interval"]
        else:
            lines += ["no accuracy: the rows of this task are not known; pass tasks=..."]
        header = ("", "accuracy", f"answer to {query!r}" if query.strip() else "answer")
        return table(rows, header=header) + "".join(map(soft, lines))
