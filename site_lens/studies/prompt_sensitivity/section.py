"""Section on prompt sensitivity: each question about the prompts with its answer."""

from site_lens.plots.section import Section, SectionFigure, Studies, signed
from site_lens.studies.prompt_sensitivity.plot import sensitivity
from site_lens.studies.prompt_sensitivity.result import PromptSensitivity


def sections(name: str, runs: PromptSensitivity, studies: Studies) -> list[Section]:
    """Return the section of prompt sensitivity."""
    lines = [
        f"{check.claim}: {check.answer} ({signed(check.value)} [{signed(check.low)}, {signed(check.high)}] on "
        f"{check.n} queries)."
        for check in runs.checks()
    ]
    figure = SectionFigure(name, sensitivity(runs), runs.frame())
    return [Section("How much hangs on the prompts?", lines, [figure], runs.notes)]
