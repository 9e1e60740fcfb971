"""Section on task arithmetic: which of two tasks each combination of both does."""

from site_lens.plots.section import Section, SectionFigure, Studies
from site_lens.studies.task_arithmetic.plot import task_arithmetic
from site_lens.studies.task_arithmetic.result import KINDS, TaskArithmetic


def sections(name: str, combination: TaskArithmetic, studies: Studies) -> list[Section]:
    """Return the section of two tasks together."""
    first, second = combination.tasks
    lines = [
        f"Heads and embeddings of {first} and {second} at once, on {int(combination.n_queries.sum())} queries of both."
    ]
    for kind in KINDS:
        verdicts = [f"{weight:g}: {combination.verdict(kind, weight)}" for weight in combination.weights]
        lines.append(f"{kind}: {', '.join(verdicts)}.")
    figure = SectionFigure(name, task_arithmetic(combination), combination.frame())
    return [Section(f"{first} and {second} together", lines, [figure], combination.notes)]
