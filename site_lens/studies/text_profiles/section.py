"""Section on text profiles: a line for each head of what it does beyond the task."""

import numpy as np

from site_lens.plots.section import Section, SectionFigure, Studies
from site_lens.studies.text_profiles.plot import text_attention
from site_lens.studies.text_profiles.result import FIRST, TextProfiles

MOST_LINES = 24
"""Heads with a line of their own; the table of the figure has all."""
N_NAMED = 4
"""Tokens that a line names."""


def sections(name: str, profiles: TextProfiles, studies: Studies) -> list[Section]:
    """Return the section."""
    lines = [
        f"{len(profiles.heads)} heads on {profiles.n_pieces} pieces of the given text, {profiles.n_queries} tokens. "
        "Each line has the mean attention to the first token, to the token before, and to what followed an "
        "earlier occurrence of the token (induction); then the tokens with the largest direct logits where the head "
        "attends most. The coloured text: text_profiles.html in the folder of the run, or sl.write_text_page.",
    ]
    entries = {
        anchor: f"{head}: {head_line(profiles, i)}" for i, (head, anchor) in enumerate(anchors(name, profiles).items())
    }
    figure = SectionFigure(name, text_attention(profiles), profiles.frame())
    return [Section("What the heads do on other text", lines, [figure], profiles.notes, entries)]


def anchors(name: str, profiles: TextProfiles) -> dict[str, str]:
    """Return the id on the page of the sentence on each head that has one."""
    return {head: f"{name}-{head}" for head in profiles.heads[:MOST_LINES]}


def head_line(profiles: TextProfiles, i: int) -> str:
    """Say in one line what a head does on text: shares of attention, and tokens promoted."""
    induction = profiles.to_induction[i]
    parts = [f"first token {profiles.share(FIRST)[i]:.0%}", f"token before {profiles.previous()[i]:.0%}"]
    if not np.isnan(induction):
        parts.append(f"induction {induction:.0%}")
    raised = profiles.raised(profiles.heads[i])[:N_NAMED]
    writes = f"; writes {', '.join(map(repr, raised))}" if raised else ""
    return f"{', '.join(parts)}{writes}"
