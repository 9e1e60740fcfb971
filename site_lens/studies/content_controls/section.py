"""Section on content controls: what each control reaches of SITE's gain."""

from site_lens.plots.section import Section, SectionFigure, Studies, with_interval
from site_lens.studies.content_controls.plot import content_shares
from site_lens.studies.content_controls.result import ContentControls


def sections(name: str, contents: ContentControls, studies: Studies) -> list[Section]:
    """Return the section of content controls."""
    lines = [f"{int(contents.n_queries.sum())} queries of {len(contents.tasks)} tasks."]
    for control in contents.controls:
        share = contents.share(control)
        reached = "" if share is None else f" ({with_interval(share)} of SITE's gain)"
        lines.append(f"{control}: {contents.verdict(control)}{reached}.")
    figure = SectionFigure(name, content_shares(contents), contents.frame())
    return [Section("What the embedding contributes", lines, [figure])]
