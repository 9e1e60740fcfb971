"""Section on faithfulness: areas under the curves, the smallest sets of heads, and a figure for each direction."""

from site_lens.plots.section import Section, SectionFigure, Studies, with_interval
from site_lens.studies.faithfulness.plot import faithfulness
from site_lens.studies.faithfulness.result import DIRECTIONS, Direction, Faithfulness

INTERVENTIONS: dict[Direction, str] = {
    "sufficiency": "alone, injected into the bare query",
    "necessity": "of few-shot prompts ablated to their mean",
    "interchange": "of few-shot prompts interchanged with those behind shuffled labels",
}


def sections(name: str, curves: Faithfulness, studies: Studies) -> list[Section]:
    """Return the section of faithfulness curves."""
    lines = [f"{int(curves.n_queries.sum())} queries of {len(curves.tasks)} tasks."]
    for direction in DIRECTIONS:
        areas = [f"{ordering} {with_interval(curves.area(direction, ordering))}" for ordering in curves.names]
        smallest = curves.smallest(direction, "site")
        size = smallest.reason if smallest.k is None else f"{smallest.k} of {len(curves.grid)} heads"
        lines.append(
            f"Heads {INTERVENTIONS[direction]}: area under the curve by order of heads: {', '.join(areas)}. Smallest "
            f"set in SITE's order with 95 % of the effect: {size}."
        )
    tables = {direction: part.drop(columns="direction") for direction, part in curves.frame().groupby("direction")}
    figures = [
        SectionFigure(f"{name}-{direction}", faithfulness(curves, direction=direction), tables[direction])
        for direction in DIRECTIONS
    ]
    return [Section("Are the heads sufficient, and are they necessary?", lines, figures, curves.notes)]
