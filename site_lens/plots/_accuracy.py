"""Accuracy by task and method, with intervals."""

from itertools import chain, cycle

import plotly.graph_objects as go

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.names import shots_of
from site_lens.methods.registry import method_label, method_look
from site_lens.plots.forest import Dots, forest
from site_lens.plots.theme import PALETTE, SYMBOLS
from site_lens.records.errors import InputError


def accuracy(evaluations: Evaluations, *, metric: Match = "first_token") -> go.Figure:
    """Draw accuracies with their 95% Wilson intervals: tasks below each other, one dot a method.

    Further seeds of a method are small dots without intervals beside that of the lowest seed.

    Args:
        evaluations: One evaluation a task; a method that a task lacks has no dot there.
        metric: Which count of right answers to draw.

    Returns:
        A figure with one trace a method, in the order of `evaluations.methods`.

    Raises:
        InputError: There are no evaluations, or the metric was not measured.
    """
    if not evaluations:
        raise InputError("there are no evaluations to draw; make some with evaluate(model, tasks, fits)")
    names = list(dict.fromkeys(method.name for method in evaluations.evaluated.values()))
    looks = _looks(names, evaluations.reference)
    small = "; small: further seeds" if len(names) < len(evaluations.methods) else ""
    return forest(
        list(evaluations),
        [_dots(evaluations, method, looks, metric) for method in evaluations.methods],
        title=f"Accuracy ({metric.replace('_', ' ')})",
        subtitle=f"Dots with 95% Wilson intervals{small}",
        xaxis={"title": {"text": "Share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
        lane_height=9,
    )


def _dots(evaluations: Evaluations, method: str, looks: dict[str, tuple[str, str]], metric: Match) -> Dots:
    name = evaluations.evaluated[method].name
    is_lowest = method == name
    dots = [
        (row, share, (task, method_label(method), str(share), f"{share.n} queries"))
        for row, (task, evaluation) in enumerate(evaluations.items())
        if method in evaluation.methods
        for share in [evaluation.accuracy(method, metric)]
    ]
    color, symbol = looks[name]
    return Dots(
        dots,
        marker={"color": color, "symbol": symbol, "size": 8 if is_lowest else 5},
        lane=list(looks).index(name),
        name=method_label(method) if is_lowest else None,
        group=name if len(evaluations.methods) > len(looks) else None,
        bars={"thickness": 1.2} if is_lowest else None,
    )


def _looks(names: list[str], reference: str | None) -> dict[str, tuple[str, str]]:
    """Return colour and symbol of every method: its own, or those that none of the others drawn has."""
    # Of few-shot prompting only the reference has its colour: there may be others of other numbers of demonstrations.
    fixed = [other for other in names if not shots_of(other) or other == reference]
    known = {other: look for other in fixed if (look := method_look(other)) is not None}
    every = list(zip(PALETTE, SYMBOLS, strict=True))
    free = [look for i, look in enumerate(every) if i not in known.values()]
    again = cycle((color, f"{symbol}-open") for color, symbol in every)  # where there are more methods than colours
    others = chain(free, again)
    return {name: every[known[name]] if name in known else next(others) for name in names}
