"""The live model: how accurate prompting and the chosen heads are, and what they answer."""

import ipywidgets as widgets  # type: ignore[import-untyped]

from site_lens.explorer.panel import Act, Change, Panel, heading, soft, table
from site_lens.explorer.state import Exploration, LiveSide
from site_lens.records.errors import SiteLensError
from site_lens.stats.intervals import Interval

NO_MODEL = "Without a model there is nothing to ask; hand one in: sl.explore(run, model)."


class LivePanel(Panel):
    """A query, and a table of what each method answers to it and how often it is right."""

    def __init__(self, state: Exploration, act: Act) -> None:
        super().__init__(state, act)
        self.query = widgets.Combobox(
            description="query", continuous_update=False, ensure_option=False,
            layout=widgets.Layout(width="auto", max_width="30rem"), style={"description_width": "4rem"},
        )  # fmt: skip
        self.rounded = widgets.Checkbox(description="replace these heads wholly (alpha 1)", indent=False)
        self.results = widgets.HTML()
        if state.live is None:
            self.results.value = soft(NO_MODEL)
            self.box.children = [heading("Ask the model"), self.results]
        else:
            self.box.children = [heading("Ask the model"), self.query, self.rounded, self.results]
        self.when_set(self.query, "query", self._ask)
        self.when_set(self.rounded, "set", self._round)

    def _ask(self, query: str) -> None:
        self.state.query = query

    def _round(self, rounded: bool) -> None:
        self.state.rounded = rounded

    def show(self, change: Change) -> None:
        """Ask again where the fit, the head set or the query is another."""
        live = self.state.live
        if live is None or change not in ("fit", "set", "query"):
            return
        if change == "fit":
            self.query.options = self.state.queries()
        self.query.value, self.rounded.value = self.state.query, self.state.rounded
        self.results.value = soft("Asking ...")
        try:
            self.results.value = self._answered(live)
        except SiteLensError:
            self.results.value = soft("No answer.")  # the reason is said on top
            raise

    def _answered(self, live: LiveSide) -> str:
        state = self.state
        gates, query = state.gates(), state.query
        accuracies = live.accuracies(state.fit, gates)
        answers = live.answers(state.fit, query, gates) if query.strip() else {}
        rows = [
            (_label(name, len(state.head_set())), _share(accuracies.get(name)), answers.get(name, ""))
            for name in (answers or accuracies)
        ]
        n = next((one.n for one in accuracies.values()), 0)
        said = f"answer to {query!r}" if query.strip() else "answer"
        expected = live.expected(state.fit, query)
        lines = [
            f"expected: {' or '.join(expected)}" if expected else "",
            f"first-token accuracy on {n} test queries, with Wilson's 95% interval"
            if n
            else "no accuracy: the rows of this task are not known; hand in tasks=...",
        ]
        return table(rows, header=("", "accuracy", said)) + "".join(soft(line) for line in lines if line)


def _label(name: str, n_heads: int) -> str:
    return f"injected at {n_heads} heads" if name == "injected" else name.replace("_", "-")


def _share(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
