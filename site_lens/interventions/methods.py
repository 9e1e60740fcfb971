"""A fitted way to do a task: how many demonstrations it shows, and what it changes at the last prompt token."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from site_lens.core.errors import InputError
from site_lens.core.evaluation import REFERENCE
from site_lens.core.fits import SiteFit, SiteFits
from site_lens.core.tasks import Task
from site_lens.interventions.patching import inject
from site_lens.models.protocol import Edit, LensModel

SHOT_NAMES = {0: "zero_shot", 1: "one_shot", 5: "five_shot", 10: REFERENCE}


@dataclass(frozen=True, slots=True)
class Method:
    """One way to make a model do a task."""

    name: str
    n_shots: int = 0
    """Demonstrations in the prompt."""
    n_labelled: int = 0
    """Labelled rows it used; of prompting, those a prompt shows."""
    edits: Callable[[LensModel], Sequence[Edit]] = lambda model: ()
    """Edits of the last prompt token, at column 0 of the tail."""
    notes: tuple[str, ...] = ()


def prompting(n_shots: int) -> Method:
    """Plain prompting with `n_shots` demonstrations, drawn anew for each query."""
    return Method(SHOT_NAMES.get(n_shots, f"{n_shots}_shot"), n_shots=n_shots, n_labelled=n_shots)


def site_methods(name: str, fit: SiteFit, notes: tuple[str, ...] = ()) -> tuple[Method, Method]:
    """SITE as fitted, called `name`, and with alphas rounded at 0.5, called `<name>_hard`."""

    def method(suffix: str, hard: bool) -> Method:
        gates = fit.gates.hard() if hard else fit.gates
        return Method(
            name + suffix,
            n_labelled=fit.n_labelled,
            edits=lambda model: inject(model, gates, fit.embedding, rule=fit.config.mix),
            notes=fit.notes + notes,
        )

    return method("", hard=False), method("_hard", hard=True)


def methods_for(
    model: LensModel, task: Task, fits: SiteFits | None, controls: Mapping[str, SiteFits], *, n_shots: int
) -> list[Method]:
    """List what a task is evaluated with: prompting, its fits soft and hard, and its controls.

    Of several seeds the lowest is `site`, the others are `site#<seed>`; the same holds for controls.

    Raises:
        InputError: There are fits, but none of this task.
        MismatchError: A fit belongs to another model.
    """
    found = [prompting(0), prompting(n_shots)]
    for name, fit in _named("site", task, fits):
        found += site_methods(name, fit, _warnings(model, task, fit))
    for control, members in controls.items():
        found += [
            site_methods(name, fit, _warnings(model, task, fit))[0] for name, fit in _named(control, task, members)
        ]
    return found


def _named(method: str, task: Task, fits: SiteFits | None) -> list[tuple[str, SiteFit]]:
    if fits is None:
        return []
    several = sorted(fits.of(task.name), key=lambda fit: fit.seed)
    if not several:
        raise InputError(f"no fit of task {task.name!r} for {method}; there are fits of: {', '.join(fits)}")
    return [(method if fit is several[0] else f"{method}#{fit.seed}", fit) for fit in several]


def _warnings(model: LensModel, task: Task, fit: SiteFit) -> tuple[str, ...]:
    """Return what makes an evaluation of this fit on this task and model hard to believe."""
    found = model.identity.check_use(fit.embedding.model, f"the fit of {fit.task!r}")
    if fit.task_digest != task.digest:
        found += (
            f"the fit of {fit.task!r} was made on other rows or another split than it is evaluated on: "
            "test queries may be rows that it was trained on",
        )
    return found
