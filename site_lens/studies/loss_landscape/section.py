"""Section on the loss landscape of a task: verdict, straight lines, binary fits, and two figures."""

from site_lens.plots.section import Section, SectionFigure, Studies, with_interval
from site_lens.studies.loss_landscape.plot import landscape, landscape_slice
from site_lens.studies.loss_landscape.result import VERDICTS, FitLandscape


def sections(name: str, fits: FitLandscape, studies: Studies) -> list[Section]:
    """Return the section of a landscape."""
    binary, null = fits.binary(), fits.binary(null=True)
    lines = [
        f"{fits.task}, {fits.n_rows} test queries, {int((~fits.null).sum())} fits from different starts, learning "
        f"rates and step counts: {fits.verdict}. {VERDICTS[fits.verdict]}"
    ]
    if fits.free is not None:
        lines.append(
            f"{with_interval(fits.free)} of {len(fits.lines)} straight lines between two fits meet no barrier above a "
            "tenth of the gain."
        )
    if binary is not None:
        beside = f"; of {null.n} fits to shuffled answers {with_interval(null)}" if null is not None else ""
        lines.append(f"{with_interval(binary)} of the fits turned binary{beside}.")
    figures = [
        SectionFigure(f"{name}-fits", landscape(fits), fits.frame()),
        SectionFigure(f"{name}-slice", landscape_slice(fits), fits.lines_frame()),
    ]
    return [Section(f"The landscape of {fits.task}", lines, figures, fits.notes)]
