"""A fitted way to do a task: how many demonstrations it shows, and what it changes at the last prompt token."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


def site_methods(name: str, fit: SiteFit) -> tuple[Method, Method]:
    """SITE as fitted, called `name`, and with alphas rounded at 0.5, called `<name>_hard`."""

    def method(suffix: str, hard: bool) -> Method:
        gates = fit.gates.hard() if hard else fit.gates
        return Method(
            name + suffix,
            n_labelled=fit.n_labelled,
            edits=lambda model: inject(model, gates, fit.embedding, rule=fit.config.mix),
            notes=fit.notes,
        )

    return method("", hard=False), method("_hard", hard=True)


def methods_for(task: Task, fits: SiteFits | None, controls: Mapping[str, SiteFits], *, n_shots: int) -> list[Method]:
    """List what a task is evaluated with: prompting, its fit soft and hard, and its controls."""
    found = [prompting(0), prompting(n_shots)]
    if fits is not None:
        found += site_methods("site", fits[task.name])
    return found + [site_methods(name, control[task.name])[0] for name, control in controls.items()]
