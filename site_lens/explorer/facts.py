"""Facts about one head: everything that a run knows of it, in words and numbers."""

from collections.abc import Iterator

from site_lens.heads.head_set import Head
from site_lens.heads.scores import HeadScores
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.site.head_path import HeadPath
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles

OPEN = 0.5
"""Alpha above which a head is called open."""

MOST_TASKS = 8
"""Tasks to name at most."""


def head_facts(run: Run, key: str, head: Head, *, other_key: str | None = None) -> dict[str, str]:
    """Collect what a run knows of one head, by the name of each fact.

    Args:
        run: The run.
        key: Key of the fit that is shown.
        head: A head of its grid.
        other_key: Key of a fit over the same grid that it is compared with.

    Returns:
        Alpha and rank in the fit, its seeds and its controls; whether it is in the chosen set of the task; in how many
        tasks the head is open; the scores of other selectors; and its profile, where a study made one. What the run
        does not hold is left out.
    """
    fit = run.fits[key]
    facts = {"alpha" if other_key is None else f"alpha, {key}": _scored(fit.gates, head)}
    if other_key is not None:
        facts[f"alpha, {other_key}"] = _scored(run.fits[other_key].gates, head)
    fits = [other for other in run.fits.values() if other.gates.grid == fit.gates.grid]
    alphas = [other.gates[head] for other in fits if other.task == fit.task]
    if len(alphas) > 1:
        mean, n_open = sum(alphas) / len(alphas), sum(alpha > OPEN for alpha in alphas)
        facts[f"over {len(alphas)} seeds"] = (
            f"mean {mean:.3f}, {min(alphas):.3f} to {max(alphas):.3f}; open in {n_open}"
        )
    path = run.paths.get(fit.task)
    if path is not None and path.model.grid == fit.gates.grid:
        facts["head set"] = _place_in_set(path, head)
    for name, controls in run.controls.items():
        for control in controls.of(fit.task):
            if control.seed == fit.seed and control.gates.grid == fit.gates.grid:
                facts[name] = _scored(control.gates, head)
    facts |= _task_facts(SiteFits(fits), head)
    for name, scores in run.scores.items():
        if name != "site" and fit.task in scores and head in scores[fit.task].grid:
            facts[name] = _scored(scores[fit.task], head)
    for study in run.studies.values():
        if isinstance(study, HeadProfiles):
            facts |= dict(_profile_facts(study, fit, head))
    return facts


def _place_in_set(path: HeadPath, head: Head) -> str:
    """Say whether a head is in the chosen set, which kind it is, and how many fits at the chosen price open it."""
    if path.chosen is None:
        return "no set was found for the task"
    place = "chosen" if head in path.chosen.heads else "not chosen"
    kind = "" if path.kinds is None else f", {path.kinds[str(head)]}"
    return f"{place}{kind}; open in {path.stability[head.layer, head.head]:.0%} of {len(path.sizes)} fits"


def _task_facts(fits: SiteFits, head: Head) -> dict[str, str]:
    """Name the tasks in which the head is open, by the fit of the lowest seed."""
    alphas: dict[str, float] = {}
    for fit in sorted(fits.values(), key=lambda fit: fit.seed):
        alphas.setdefault(fit.task, fit.gates[head])
    if len(alphas) < 2:
        return {}
    open_in = sorted((task for task in alphas if alphas[task] > OPEN), key=lambda task: -alphas[task])
    named = ", ".join(open_in[:MOST_TASKS]) + (" and more" if len(open_in) > MOST_TASKS else "")
    return {f"open in {len(open_in)} of {len(alphas)}": named or "no task"}


def _profile_facts(profiles: HeadProfiles, fit: SiteFit, head: Head) -> Iterator[tuple[str, str]]:
    if str(head) not in profiles.heads or profiles.model.grid != fit.gates.grid:
        return
    j = profiles.heads.index(str(head))
    for i, name in enumerate(PATTERNS):
        yield name.replace("_", " "), f"{profiles.patterns[i, j]:.3f}"
    if profiles.copying is not None:
        yield "copying", f"{profiles.copying[j]:.3f}"
    if fit.task not in profiles.tasks:
        return
    i = profiles.tasks.index(fit.task)
    shares = sorted(zip(profiles.attention[i, j], PARTS, strict=True), reverse=True)
    yield "looks at", ", ".join(f"{part} {share:.2f}" for share, part in shares if share >= 0.05)
    yield "answer gain", f"{profiles.answer_gain[i, j]:+.3f} nats, injected alone"
    table = profiles.frame()
    row = table[(table["task"] == fit.task) & (table["head"] == str(head))].iloc[0]
    for name in ("promoted", "written"):
        if row[name]:
            yield name, ", ".join(repr(token.strip()) for token in row[name])


def _scored(scores: HeadScores, head: Head) -> str:
    """Write a score with its rank, which heads of equal scores do not have."""
    if scores.is_flat:
        return f"{scores[head]:.3f}, as all {len(scores.grid)} heads"
    rank = scores.ranks()[head.layer, head.head]
    return f"{scores[head]:.3f}, rank {rank} of {len(scores.grid)}"
