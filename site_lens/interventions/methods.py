"""A fitted way to do a task: how it renders the prompt, and what it changes inside the model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from site_lens.core.errors import InputError
from site_lens.core.fits import SiteFit, SiteFits
from site_lens.core.method_names import EvaluatedMethod, few_shot_name
from site_lens.core.prompts import PromptTemplate
from site_lens.core.scores import HeadGates
from site_lens.core.tasks import Example, Task
from site_lens.interventions.generating import OnLogits
from site_lens.interventions.patching import inject
from site_lens.models.protocol import Edit, LensModel


def _no_edits(model: LensModel) -> Sequence[Edit]:
    return ()


@dataclass(frozen=True, slots=True)
class Method:
    """One fitted way to make a model do a task: what it shows, what it changes, and what it took to make."""

    name: str
    """What it is called, without a seed."""
    n_shots: int = 0
    """Demonstrations in the prompt."""
    seed: int | None = None
    """Seed of its fit, where it has one."""
    edits: Callable[[LensModel], Sequence[Edit]] = _no_edits
    """Edits of the last prompt token (column 0 of the tail) or of every token (all columns), the same for every row.
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

    @property
    def evaluated(self) -> EvaluatedMethod:
        """The method as evaluations record it."""
        return EvaluatedMethod.of(self.name, self.n_shots, self.seed)

    def around(self, model: LensModel) -> AbstractContextManager[object]:
        """Return the context in which the model is to be called."""
        return nullcontext() if self.context is None else self.context(model)


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
            seed=fit.seed,
            n_labelled=fit.n_labelled,
            n_trained=len(gates.grid) if fit.config.alpha_per == "head" else gates.grid.n_layers,
            stored_bytes=gates.values.nbytes + (fit.embedding.mean.nbytes if fit.embedding.mean.any() else 0),
            edits=lambda model: inject(model, gates, fit.embedding, rule=fit.config.mix),
            notes=fit.notes + notes,
        )

    top = HeadGates.of(fit.gates.top(round(fit.gates.mass())), task=fit.task)
    variants = {"": fit.gates, "_hard": fit.gates.hard(), "_top_k": top}
    return {suffix: method(suffix, gates) for suffix, gates in variants.items()}


def methods_for(
    model: LensModel,
    task: Task,
    fits: SiteFits | None,
    controls: Mapping[str, SiteFits],
    *,
    n_shots: int,
    template: PromptTemplate | None = None,
) -> list[Method]:
    """List what a task is evaluated with: prompting, its fits soft and hard, and its controls.

    Evaluations show the fit of the lowest seed as `site`, the others as `site#<seed>`; the same holds for controls.

    Raises:
        InputError: There are fits, but none of this task.
        MismatchError: A fit belongs to another model.
    """
    found = [prompting(0), prompting(n_shots)]
    for fit in _fits_of("site", task, fits):
        found += site_methods("site", fit, use_notes(model, task, fit, template)).values()
    for control, members in controls.items():
        found += [
            site_methods(control, fit, use_notes(model, task, fit, template))[""]
            for fit in _fits_of(control, task, members)
        ]
    return found


def _fits_of(method: str, task: Task, fits: SiteFits | None) -> list[SiteFit]:
    if fits is None:
        return []
    several = sorted(fits.of(task.name), key=lambda fit: fit.seed)
    if not several:
        raise InputError(f"no fit of task {task.name!r} for {method}; there are fits of: {', '.join(fits)}")
    return several


def use_notes(model: LensModel, task: Task, fit: SiteFit, template: PromptTemplate | None = None) -> tuple[str, ...]:
    """Return what makes results of this fit on this task, model and template (its own when None) hard to believe.

    Raises:
        MismatchError: The fit belongs to another model.
    """
    found = model.identity.check_use(fit.embedding.model, f"the fit of {fit.task!r}")
    if fit.task_digest != task.digest:
        found += (
            f"the fit of {fit.task!r} was made on other rows or another split than it is evaluated on: "
            "test queries may be rows that it was trained on",
        )
    if template is not None and template != fit.template:
        found += (
            f"the fit of {fit.task!r} was made with prompts such as {_shape(fit.template)}, and is evaluated with "
            f"{_shape(template)}",
        )
    return found


def _shape(template: PromptTemplate) -> str:
    """Show what a template makes of one demonstration and a query."""
    return repr(template.render([Example("12", ("34",))], Example("56", ("78",))).text)
