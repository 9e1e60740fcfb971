"""Everything that a run says of one head, in words and numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

from site_lens.heads.head_set import Head
from site_lens.heads.scores import HeadScores
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles

OPEN = 0.5
"""Alpha above which a head is called open."""

MOST_TASKS = 8
"""Tasks to name at most."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a head."""

    about: str
    """What it belongs to: the fit, a control, another selector, a profile."""
    name: str
    value: str


def head_facts(run: Run, key: str, head: Head, *, other_key: str | None = None) -> list[Fact]:
    """Collect what a run says of one head.

    Args:
        run: The run.
        key: Key of the fit that is looked at.
        head: A head of its grid.
        other_key: Key of a fit over the same grid that it is compared with.

    Returns:
        Alpha and rank in the fit, its seeds and its controls; in how many tasks the head is open; the scores of other
        selectors; and its profile, where an experiment made one. What the run does not hold is left out.
    """
    fit = run.fits[key]
    compared = (
        [] if other_key is None else [Fact("fit", f"alpha, {other_key}", _scored(run.fits[other_key].gates, head))]
    )
    return [
        Fact("fit", "alpha" if other_key is None else f"alpha, {key}", _scored(fit.gates, head)),
        *compared,
        *_of_seeds(run.fits, fit, head),
        *_of_controls(run, fit, head),
        *_of_tasks(run.fits, fit, head),
        *_of_selectors(run, fit.task, head),
        *(fact for study in run.studies.values() if isinstance(study, HeadProfiles)
          for fact in _of_profile(study, fit, head)),
    ]  # fmt: skip


def _of_seeds(fits: SiteFits, fit: SiteFit, head: Head) -> Iterator[Fact]:
    seeds = [one for one in fits.of(fit.task) if one.gates.grid == fit.gates.grid]
    if len(seeds) > 1:
        alphas = [one.gates[head] for one in seeds]
        mean = sum(alphas) / len(alphas)
        open_in = sum(alpha > OPEN for alpha in alphas)
        yield Fact(
            "fit",
            f"over {len(seeds)} seeds",
            f"mean {mean:.3f}, {min(alphas):.3f} to {max(alphas):.3f}; open in {open_in}",
        )


def _of_controls(run: Run, fit: SiteFit, head: Head) -> Iterator[Fact]:
    for name, fits in run.controls.items():
        for control in fits.of(fit.task):
            if control.seed == fit.seed and control.gates.grid == fit.gates.grid:
                yield Fact("control", name, _scored(control.gates, head))


def _of_tasks(fits: SiteFits, fit: SiteFit, head: Head) -> Iterator[Fact]:
    """Say in which tasks the head is open: one fit a task, that of the lowest seed, over the same grid."""
    first: dict[str, SiteFit] = {}
    for one in sorted(fits.values(), key=lambda one: one.seed):
        if one.gates.grid == fit.gates.grid:
            first.setdefault(one.task, one)
    if len(first) < 2:
        return
    open_in = sorted(
        (task for task, one in first.items() if one.gates[head] > OPEN), key=lambda task: -first[task].gates[head]
    )
    named = ", ".join(open_in[:MOST_TASKS]) + (" and more" if len(open_in) > MOST_TASKS else "")
    yield Fact("tasks", f"open in {len(open_in)} of {len(first)}", named or "no task")


def _of_selectors(run: Run, task: str, head: Head) -> Iterator[Fact]:
    for name, scores in run.scores.items():
        if name != "site" and task in scores and head in scores[task].grid:
            yield Fact("selector", name, _scored(scores[task], head))


def _of_profile(profiles: HeadProfiles, fit: SiteFit, head: Head) -> Iterator[Fact]:
    if str(head) not in profiles.heads or profiles.model.grid != fit.gates.grid:
        return
    j = profiles.heads.index(str(head))
    for i, name in enumerate(PATTERNS):
        yield Fact("profile", name.replace("_", " "), f"{profiles.patterns[i, j]:.3f}")
    if profiles.copying is not None:
        yield Fact("profile", "copying", f"{profiles.copying[j]:.3f}")
    if fit.task not in profiles.tasks:
        return
    i = profiles.tasks.index(fit.task)
    shares = sorted(zip(profiles.attention[i, j], PARTS, strict=True), reverse=True)
    yield Fact("profile", "looks at", ", ".join(f"{part} {share:.2f}" for share, part in shares if share >= 0.05))
    yield Fact("profile", "answer gain", f"{profiles.answer_gain[i, j]:+.3f} nats, injected alone")
    table = profiles.frame()
    row = table[(table["task"] == fit.task) & (table["head"] == str(head))].iloc[0]
    for name in ("promoted", "written"):
        if row[name]:
            yield Fact("profile", name, ", ".join(repr(token.strip()) for token in row[name]))


def _scored(scores: HeadScores, head: Head) -> str:
    """Write a score with its rank."""
    rank = scores.frame().set_index(["layer", "head"])["rank"][head.layer, head.head]
    return f"{scores[head]:.3f}, rank {rank} of {len(scores.grid)}"
