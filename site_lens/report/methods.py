"""What the report says of many methods: which are better than which, with how much data and at what cost."""

from dataclasses import dataclass

from markupsafe import Markup

from site_lens import plots
from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.method_table import MacroDifference, MethodSummary, MethodTable
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.methods.tabulate import default_references, method_table
from site_lens.records.errors import InputError
from site_lens.report.figures import Embedded, embed, in_script, table_json
from site_lens.report.headline import SITE
from site_lens.stats.paired_tests import FEWEST, SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Against:
    """A method against a reference: over tasks, and the tasks in which the exact test finds it better or worse."""

    difference: MacroDifference
    found: bool
    """Whether the verdict says that there is a difference."""
    n_better: int
    n_worse: int


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One line of the table of methods."""

    summary: MethodSummary
    against: tuple[Against | None, ...]
    """In the order of the references; None against itself."""


@dataclass(frozen=True, slots=True)
class Methods:
    """The section on methods."""

    table: MethodTable
    verdicts: list[str]
    """What is better than SITE, on equal data and otherwise, in sentences."""
    rows: list[MethodRow]
    has_costs: bool
    means: Embedded
    labelled: Embedded
    tests: Markup
    """Numbers of the tests on every task."""


def compare_rivals(evaluations: Evaluations | None, metric: Match = "first_token") -> Methods | str | None:
    """Return the section on methods, a sentence on why they cannot be compared, or None where nothing is there to.

    References are few-shot prompting and SITE, as far as they were evaluated.
    """
    if not evaluations or len(evaluations.methods) < 2:
        return None
    against = default_references(evaluations)
    if not against:
        return f"Methods are compared with few-shot prompting and {SITE} here, and neither was evaluated."
    try:
        table = method_table(evaluations, against, metric=metric)
    except InputError as why:  # no task has all methods: the sections on single tasks are all there is to say
        return f"The methods are not compared over tasks: {why}."
    return Methods(
        table=table,
        verdicts=verdicts(table),
        rows=_rows(table),
        has_costs=any(one.query_seconds is not None for one in table.summaries),
        means=embed("method-means", plots.method_means(table), table.frame()),
        labelled=embed("labelled-rows", plots.labelled_rows(table), table.means_frame()),
        tests=in_script(table_json(table.tests_frame())),
    )


def verdicts(table: MethodTable) -> list[str]:
    """Say which methods are better than SITE, which are not told apart from it, and what equal data gives."""
    if SITE not in table.methods or SITE not in table.against:
        return [_best(table)]
    judged = {one.method: table.verdict(one.method, SITE) for one in table.ranked() if one.method != SITE}
    if "too few" in judged.values():
        n = f"{table.n_drawn(SITE)} {table.over}"
        return [
            _best(table),
            f"No verdict on SITE's rivals from {n}: it takes {FEWEST[table.over]}.",
            _equal_data(table),
        ]
    named: dict[str | None, list[str]] = {verdict: [] for verdict in ("above", "below", "not found")}
    for method, verdict in judged.items():
        named[verdict].append(_named(table.of(method)))
    lines = [_best(table)]
    if named["above"]:
        lines.append(f"Better than SITE: {', '.join(named['above'])}.")
    if named["not found"]:
        lines.append(f"No difference from SITE found, with 95% intervals: {', '.join(named['not found'])}.")
    if judged.get(ZERO_EMBEDDING) in ("above", "not found"):
        lines.append(
            f"The gates alone ({ZERO_EMBEDDING}) are among these: that SITE's accuracy comes from the content of its "
            "embedding is not shown."
        )
    return [*lines, _equal_data(table)]


def _named(one: MethodSummary) -> str:
    over = one.over(SITE)
    between = "" if over is None else f" ({over.value:+.3f} [{over.low:+.3f}, {over.high:+.3f}]"
    return f"{one.method}{between}, {one.most_rows} labelled rows)"


def _best(table: MethodTable) -> str:
    first, *others = table.ranked()
    tied = [one.method for one in others if one.value == first.value]
    names = " and ".join([first.method, *tied])
    return f"Highest mean accuracy: {names}, {first.value:.3f}."


def _equal_data(table: MethodTable) -> str:
    """Name the best method that used no more labelled rows than SITE."""
    site = table.of(SITE)
    first = table.at_most(site.most_rows).ranked()[0]
    if first.value == site.value:
        return f"Of the methods with at most SITE's {site.most_rows} labelled rows none has a higher mean accuracy."
    return (
        f"Of the methods with at most SITE's {site.most_rows} labelled rows, {first.method} has the highest mean "
        f"accuracy, {first.value:.3f}; SITE has {site.value:.3f}."
    )


def _rows(table: MethodTable) -> list[MethodRow]:
    tests = table.tests_frame()
    tests = tests[tests["task"].isin(table.shared) & (tests["q_value"] < SIGNIFICANT)]
    n_better = tests[tests["difference"] > 0].groupby(["reference", "method"]).size().to_dict()
    n_worse = tests[tests["difference"] < 0].groupby(["reference", "method"]).size().to_dict()

    def against(one: MethodSummary, reference: str) -> Against | None:
        over, pair = one.over(reference), (reference, one.method)
        if over is None:
            return None
        found = table.verdict(one.method, reference) in ("above", "below")
        return Against(over, found, n_better.get(pair, 0), n_worse.get(pair, 0))

    return [MethodRow(one, tuple(against(one, reference) for reference in table.against)) for one in table.ranked()]
