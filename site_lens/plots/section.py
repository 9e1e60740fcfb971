"""Section of a report: heading, sentences, figures with their tables, and notes; neither HTML nor JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import plotly.graph_objects as go

from site_lens.diagnostics.cluster_stability import Estimate
from site_lens.records.base import Record
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval

Studies: TypeAlias = Mapping[str, Record]
"""All studies of a run, by name."""


@dataclass(frozen=True, slots=True)
class SectionFigure:
    """A figure, its name, which becomes its id on the page, and the table of the numbers that it shows."""

    name: str
    figure: go.Figure
    table: "pd.DataFrame | None" = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, the sentences below it, and figures; no figures where there is nothing to draw."""

    heading: str
    lines: list[str]
    figures: list[SectionFigure] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    entries: dict[str, str] = field(default_factory=dict)
    """Further sentences by the id on the page that links lead to."""


def signed(number: float) -> str:
    """Write a number with two decimals and a typographic minus sign; never -0.00."""
    return f"{number:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def with_interval(estimate: Interval | Estimate) -> str:
    """Write an estimate and the ends of its interval, as in `0.31 [0.22, 0.40]`."""
    return f"{signed(estimate.value)} [{signed(estimate.low)}, {signed(estimate.high)}]"
