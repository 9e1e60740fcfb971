"""A fitted way to do a task: how it renders the prompt, and what it changes inside the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from site_lens.core.errors import InputError
from site_lens.core.evaluation import few_shot_name
from site_lens.core.fits import SiteFit, SiteFits
from site_lens.core.scores import HeadGates
from site_lens.core.tasks import Task
from site_lens.interventions.generating import OnLogits
from site_lens.interventions.patching import inject
from site_lens.models.protocol import Edit, LensModel


def _no_edits(model: LensModel) -> Sequence[Edit]:
    return ()


@dataclass(frozen=True, slots=True)
class Method:
    """One fitted way to make a model do a task: what it shows, what it changes, and what it took to make."""

    name: str
    n_shots: int = 0
    """Demonstrations in the prompt."""
    edits: Callable[[LensModel], Sequence[Edit]] = _no_edits
    """Edits of the last prompt token (column -1) or of every token (all columns), the same for every row.
    Edits of every token allow no clean prefix: the prompts are prefilled under them."""
    every_step: bool = False
    """Whether the edits act on generated tokens, too."""
    on_logits: OnLogits | None = None
    context: Callable[[LensModel], AbstractContextManager[object]] | None = None
    """What must hold around every call of the model, such as a LoRA adapter; prompts are then prefilled inside it."""
    n_labelled: int = 0
    """Labelled rows it used; of prompting, those a prompt shows."""
    n_trained: int = 0
    """Numbers that were learned by an optimiser."""
    stored_bytes: int = 0
    """What must be kept of it, in float32."""
    seconds: float | None = None
    """Time to make it, where it was measured."""
    notes: tuple[str, ...] = ()

    @contextmanager
    def around(self, model: LensModel) -> Iterator[None]:
        """Lock the model, and put it into the context in which it is to be called."""
        with model.locked(), nullcontext() if self.context is None else self.context(model):
            yield


def prompting(n_shots: int) -> Method:
    """Plain prompting with `n_shots` demonstrations, drawn anew for each query."""
    return Method(few_shot_name(n_shots), n_shots=n_shots, n_labelled=n_shots)


def site_methods(name: str, fit: SiteFit, notes: tuple[str, ...] = ()) -> dict[str, Method]:
    """Return SITE as fitted and in two ways to make its alphas binary, by what is added to `name`.

    `_hard` rounds alphas at 0.5; `_top_k` opens the k heads of highest alpha, k the rounded sum of all alphas, and
    closes the others.
    """

    def method(suffix: str, gates: HeadGates) -> Method:
        return Method(
            name + suffix,
            n_labelled=fit.n_labelled,
            n_trained=len(gates.grid) if fit.config.alpha_per == "head" else gates.grid.n_layers,
            stored_bytes=gates.values.nbytes + (fit.embedding.mean.nbytes if fit.embedding.mean.any() else 0),
            edits=lambda model: inject(model, gates, fit.embedding),
            notes=fit.notes + notes,
        )

    top = HeadGates.of(fit.gates.top(round(fit.gates.mass())), task=fit.task, mix=fit.gates.mix)
    variants = {"": fit.gates, "_hard": fit.gates.hard(), "_top_k": top}
    return {suffix: method(suffix, gates) for suffix, gates in variants.items()}


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
        found += site_methods(name, fit, use_notes(model, task, fit)).values()
    for control, members in controls.items():
        found += [
            site_methods(name, fit, use_notes(model, task, fit))[""] for name, fit in _named(control, task, members)
        ]
    return found


def _named(method: str, task: Task, fits: SiteFits | None) -> list[tuple[str, SiteFit]]:
    if fits is None:
        return []
    several = sorted(fits.of(task.name), key=lambda fit: fit.seed)
    if not several:
        raise InputError(f"no fit of task {task.name!r} for {method}; there are fits of: {', '.join(fits)}")
    return [(method if fit is several[0] else f"{method}#{fit.seed}", fit) for fit in several]


def use_notes(model: LensModel, task: Task, fit: SiteFit) -> tuple[str, ...]:
    """Return what makes results of this fit on this task and model hard to believe.

    Raises:
        MismatchError: The fit belongs to another model.
    """
    found = model.identity.check_use(fit.embedding.model, f"the fit of {fit.task!r}")
    if fit.task_digest != task.digest:
        found += (
            f"the fit of {fit.task!r} was made on other rows or another split than it is evaluated on: "
            "test queries may be rows that it was trained on",
        )
    return found
