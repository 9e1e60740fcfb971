"""Section on ablations of SITE: the difference that each choice makes."""

from site_lens.plots.section import Section, SectionFigure, Studies, with_interval
from site_lens.studies.ablation.plot import fit_ablation
from site_lens.studies.ablation.result import VERDICTS, FitAblation


def sections(name: str, ablation: FitAblation, studies: Studies) -> list[Section]:
    """Return the section of an ablation."""
    q_values = ablation.q_values()
    size = f"{int(ablation.n_queries.sum())} queries of {len(ablation.tasks)} tasks"
    lines = [f"{size}; every choice in turn against the default."]
    lines += [
        f"{variant}: {VERDICTS[verdict]} Difference {with_interval(ablation.difference(variant))}, q = "
        f"{q_values[variant]:.2g}."
        for variant, verdict in ablation.verdicts().items()
    ]
    figure = SectionFigure(name, fit_ablation(ablation), ablation.means_frame())
    return [Section("What each choice is worth", lines, [figure], ablation.notes)]
