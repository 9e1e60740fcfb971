"""Method: how it prompts the model, what it changes inside, and what it cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from site_lens.activations.generation import OnLogits
from site_lens.activations.injection import injection_edits
from site_lens.heads.scores import HeadGates
from site_lens.methods.names import PROMPTING, EvaluatedMethod
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.records.errors import InputError
from site_lens.site.fit import Pair, SiteFit, SiteFits, gates_and_embedding
from site_lens.site.head_path import HeadPath
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example, Task


@dataclass(frozen=True, slots=True)
class Method:
    """One fitted way to make a model do a task: what it shows, what it changes, and what it took to make."""

    kind: str
    """Its name in the registry, or `prompting` or `calibrated`, whose display names count demonstrations."""
    n_shots: int = 0
    """Demonstrations in the prompt."""
    seed: int | None = None
    """Seed of its fit, where it has one."""
    edits: Callable[[LensModel], Sequence[Edit]] = lambda model: ()
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
    n_heads: int | None = None
    """Heads that it acts on, if their gates are 1 and all others are left alone; None of other methods."""
    seconds: float | None = None
    """Time to make it, where it was measured."""
    notes: tuple[str, ...] = ()

    @property
    def evaluated(self) -> EvaluatedMethod:
        """The method as evaluations record it."""
        return EvaluatedMethod(kind=self.kind, n_shots=self.n_shots, seed=self.seed)

    @property
    def name(self) -> str:
        """Display name, without the seed."""
        return self.evaluated.name

    @contextmanager
    def around(self, model: LensModel) -> Iterator[None]:
        """Lock the model, and put it into the context in which it is to be called."""
        with model.locked(), nullcontext() if self.context is None else self.context(model):
            yield


def prompting(n_shots: int) -> Method:
    """Plain prompting with `n_shots` demonstrations, drawn anew for each query."""
    return Method(PROMPTING, n_shots=n_shots, n_labelled=n_shots)


Pairs = Mapping[str, Pair]
"""Pairs by task."""


def site_methods(name: str, fit: SiteFit | Pair, notes: tuple[str, ...] = ()) -> dict[str, Method]:
    """Return SITE as fitted and in two ways to make its alphas binary, by what is added to `name`.

    `_hard` rounds alphas at 0.5; `_top_k` opens the k heads of highest alpha, k the rounded sum of all alphas, and
    closes the others. Gates that are all alike, strictly between 0 and 1, have no binary ways: they are left out, and a
    note says so. Of a pair only the labels that its embedding saw are known.
    """
    gates, embedding = gates_and_embedding(fit)
    seed, n_labelled, n_trained = None, len(embedding.labelled_rows), len(gates.grid)
    if isinstance(fit, SiteFit):
        seed, n_labelled, notes = fit.seed, fit.n_labelled, fit.notes + notes
        n_trained = n_trained if fit.config.alpha_per == "head" else gates.grid.n_layers

    def method(suffix: str, alphas: HeadGates) -> Method:
        return Method(
            name + suffix,
            seed=seed,
            n_labelled=n_labelled,
            n_trained=n_trained,
            stored_bytes=gates.values.nbytes + (embedding.mean.nbytes if embedding.mean.any() else 0),
            n_heads=int(alphas.mass()) if suffix else None,
            edits=lambda model: injection_edits(model, alphas, embedding),
            notes=notes,
        )

    if gates.is_flat and gates.undecided(0, 1):
        alpha = gates.mass() / len(gates.grid)
        notes += (f"{name}_hard and {name}_top_k are left out: every alpha is {alpha:.3f}, there is nothing to round",)
        return {"": method("", gates)}
    top = HeadGates.of(gates.top(round(gates.mass())), task=embedding.task, mix=gates.mix)
    variants = {"": gates, "_hard": gates.hard(), "_top_k": top}
    return {suffix: method(suffix, alphas) for suffix, alphas in variants.items()}


def sparse_methods(path: HeadPath, notes: tuple[str, ...] = ()) -> list[Method]:
    """Return the chosen set of a path, and its control without an embedding; none where no set was found.

    What must be kept is one vector of each open head's size, and nothing of the others.
    """
    methods = []
    for name, fit in {"site_sparse": path.sparse, "gates_sparse": path.gates_alone}.items():
        if fit is None:
            continue
        n_heads, widths = int(fit.gates.mass()), fit.embedding.model.widths
        n_numbers = sum(widths[head.layer] for head in fit.gates.above(0.5)) if fit.embedding.mean.any() else n_heads
        method = site_methods(name, fit, notes)[""]
        methods.append(replace(method, seed=None, n_heads=n_heads, stored_bytes=4 * n_numbers))
    return methods


def methods_for(
    model: LensModel,
    task: Task,
    fitted: Sequence[tuple[str, SiteFit | Pair]],
    path: HeadPath | None,
    *,
    n_shots: int,
    template: PromptTemplate,
) -> list[Method]:
    """List what a task is evaluated with: prompting, its fits soft and hard, its chosen head set, and its controls.

    `fitted` are fits and pairs with the name of their method, `site` or that of a control. Evaluations show the fit of
    the lowest seed as `site`, the others as `site#<seed>`; the same holds for controls.

    Raises:
        MismatchError: A fit belongs to another model.
    """
    methods, controls = [prompting(0), prompting(n_shots)], []
    for name, fit in fitted:
        ways = site_methods(name, fit, use_notes(model, task, fit, template))
        if name == "site":
            methods += ways.values()
        else:
            controls.append(ways[""])
    if path is not None:
        methods += sparse_methods(path, use_notes(model, task, path.sparse, template) if path.sparse else ())
    return methods + controls


def fits_of(method: str, task: Task, fits: SiteFits | Pairs | None) -> Sequence[SiteFit | Pair]:
    """Return what a task is evaluated with under the name of a method: its fits, lowest seed first, or its pair.

    Raises:
        InputError: There are fits, but none of this task, or something else than fits and pairs.
    """
    if fits is None:
        return []
    if isinstance(fits, SiteFits):
        of_task: list[SiteFit | Pair] = [*sorted(fits.of(task.name), key=lambda fit: fit.seed)]
    else:
        of_task = [fits[task.name]] if task.name in fits else []
    if not of_task:
        raise InputError(f"no fit of task {task.name!r} for {method}; there are fits of: {', '.join(fits)}")
    return of_task


def use_notes(
    model: LensModel, task: Task | None, fit: SiteFit | Pair, template: PromptTemplate | None = None
) -> tuple[str, ...]:
    """Return what makes results of this fit on this task, model and template (its own when None) hard to believe.

    The rows of the task are not looked at when it is None.

    Raises:
        MismatchError: The fit belongs to another model.
    """
    _, embedding = gates_and_embedding(fit)
    name, digest = (fit.task, fit.task_digest) if isinstance(fit, SiteFit) else (embedding.task, embedding.task_digest)
    notes = model.identity.check_use(embedding.model, f"the fit of {name!r}")
    if task is not None and digest != task.digest:
        notes += (
            f"the fit of {name!r} was made on other rows or another split than it is evaluated on, or on rows that are "
            "not known: test queries may be rows that it was trained on",
        )
    if template is not None and template != embedding.template:
        notes += (
            f"the fit of {name!r} was made with prompts such as {_shape(embedding.template)}, and is evaluated with "
            f"{_shape(template)}",
        )
    return notes


def _shape(template: PromptTemplate) -> str:
    """Show what a template makes of one demonstration and a query."""
    return repr(template.render([Example("12", ("34",))], Example("56", ("78",))).text)
