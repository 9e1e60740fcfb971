"""Section on methods: which are better than which, with how much data and at what cost."""

from typing import Any

from site_lens import plots
from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.method_table import MethodSummary, MethodTable, default_references, method_table
from site_lens.methods.registry import ZERO_EMBEDDING, method_label
from site_lens.plots.section import SectionFigure
from site_lens.records.errors import InputError
from site_lens.report.headline import SITE
from site_lens.stats.paired_tests import FEWEST, SIGNIFICANT


def methods_section(evaluations: Evaluations | None, metric: Match = "first_token") -> dict[str, Any] | str | None:
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
    means = SectionFigure("method-means", plots.method_means(table), table.frame())
    labelled = SectionFigure("labelled-rows", plots.labelled_rows(table), table.means_frame())
    parts = {"table": table, "verdicts": verdicts(table), "rows": _rows(table), "tests": table.tests_frame()}
    return parts | {"figures": (means, labelled)}


def verdicts(table: MethodTable) -> list[str]:
    """Say which methods are better than SITE, which are not told apart from it, and what equal data gives."""
    ranked = table.ranked()
    best = [method_label(method.method) for method in ranked if method.value == ranked[0].value]
    highest = f"Highest mean accuracy: {' and '.join(best)}, {ranked[0].value:.3f}."
    if SITE not in table.methods or SITE not in table.against:
        return [highest]
    judged = {method.method: table.verdict(method.method, SITE) for method in ranked if method.method != SITE}
    if "too few" in judged.values():
        n = f"{table.n_drawn(SITE)} {table.over}"
        few = f"No verdict on SITE's rivals from {n}: it takes {FEWEST[table.over]}."
        return [highest, few, _equal_data(table)]
    lines = [highest]
    for verdict, words in (
        ("above", "Better than SITE"),
        ("not found", "No difference from SITE found, with 95% intervals"),
    ):
        named = [_described(table.of(method)) for method, found in judged.items() if found == verdict]
        lines += [f"{words}: {', '.join(named)}."] if named else []
    if judged.get(ZERO_EMBEDDING) in ("above", "not found"):
        lines.append(
            f"Among these are the {method_label(ZERO_EMBEDDING)}: that SITE's accuracy comes from the content of its "
            "embedding is not shown."
        )
    return [*lines, _equal_data(table)]


def _described(method: MethodSummary) -> str:
    over = method.over(SITE)
    between = "" if over is None else f" ({over.value:+.3f} [{over.low:+.3f}, {over.high:+.3f}]"
    return f"{method_label(method.method)}{between}, {method.most_rows} labelled rows)"


def _equal_data(table: MethodTable) -> str:
    """Name the best method that used no more labelled rows than SITE."""
    site = table.of(SITE)
    first = table.at_most(site.most_rows).ranked()[0]
    if first.value == site.value:
        return f"Of the methods with at most SITE's {site.most_rows} labelled rows none has a higher mean accuracy."
    return (
        f"Of the methods with at most SITE's {site.most_rows} labelled rows, {method_label(first.method)} has the "
        f"highest mean accuracy, {first.value:.3f}; SITE has {site.value:.3f}."
    )


def _rows(table: MethodTable) -> list[tuple[MethodSummary, list[dict[str, Any] | None]]]:
    """Return every method with its differences from each reference, and in how many tasks a test finds one.

    Against itself there is none.
    """
    tests = table.tests_frame()
    tests = tests[tests["task"].isin(table.shared) & (tests["q_value"] < SIGNIFICANT)]
    n_better, n_worse = (
        tests[sign * tests["difference"] > 0].groupby(["reference", "method"]).size().to_dict() for sign in (1, -1)
    )

    def against(method: MethodSummary, reference: str) -> dict[str, Any] | None:
        over, pair = method.over(reference), (reference, method.method)
        counts = {"n_better": n_better.get(pair, 0), "n_worse": n_worse.get(pair, 0)}
        verdict = table.verdict(method.method, reference)
        return None if over is None else counts | {"difference": over, "verdict": verdict}

    return [(method, [against(method, reference) for reference in table.against]) for method in table.ranked()]
