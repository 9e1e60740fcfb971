"""Every method on the same test queries of a task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from site_lens.core.digests import seed_stream
from site_lens.core.errors import InputError
from site_lens.core.evaluation import Evaluation, Evaluations, MethodCost
from site_lens.core.fits import SiteFits
from site_lens.core.matching import exact_match, prefix_match
from site_lens.core.prompts import Prompt, PromptTemplate
from site_lens.core.provenance import library_versions
from site_lens.core.sampling import few_shot_prompts
from site_lens.core.sizes import check_sizes
from site_lens.core.tasks import Example, Task, task_list
from site_lens.interventions.asking import Asked
from site_lens.interventions.generating import generate
from site_lens.interventions.methods import Method, methods_for
from site_lens.interventions.progress import progress_bar
from site_lens.interventions.scoring import score_methods
from site_lens.models.protocol import LensModel

NO_FITS = SiteFits([])


def evaluate(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits = NO_FITS,
    *,
    controls: Mapping[str, SiteFits] | None = None,
    n_shots: int = 10,
    max_queries: int | None = None,
    generated: bool = False,
    template: PromptTemplate | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Evaluations:
    """Measure zero-shot, few-shot and SITE (soft, hard, controls) on the same test queries.

    Args:
        model: The model.
        tasks: The tasks; queries are their test rows, demonstrations their train rows.
        fits: Fits by task; without them only prompting is measured.
        controls: Further fits by the name of their method, such as `{"site_zero_embedding": fits}`.
        n_shots: Demonstrations of few-shot prompting.
        max_queries: Test rows to use, the first ones; all when None.
        generated: Generate answers too, for exact and prefix match; several times slower.
        template: How examples become text; the fits' own, or the paper's, when None.
        seed: Seed of the demonstrations.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        One evaluation a task.

    Raises:
        MismatchError: A fit belongs to another model.
        InputError: A task has no fit or too few rows, a prompt exceeds the context, or a count is out of its bounds.

    Example:
        >>> import site_lens as sl
        >>> measured = sl.evaluate(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), max_queries=20)["antonym"]
        >>> measured.accuracy("ten_shot").value > measured.accuracy("zero_shot").value
        True
    """
    wanted = task_list(tasks)
    check_sizes(n_shots=n_shots, max_queries=max_queries, seed=seed)
    if not isinstance(fits, SiteFits):
        raise InputError(f"fits must be SiteFits, got a {type(fits).__name__}; without fits, leave them out")
    given = None if fits is NO_FITS else fits
    found = []
    with progress_bar(len(wanted), "evaluating", unit="task", progress=progress) as bar:
        for task in wanted:
            methods = methods_for(model, task, given, controls or {}, n_shots=n_shots)
            own = PromptTemplate() if given is None else given.of(task.name)[0].template
            chosen = template or own
            settings = EvaluationSettings(chosen, n_shots, max_queries, generated, seed=seed)
            found.append(evaluate_methods(model, task, methods, settings))
            bar.update()
    return Evaluations(found)


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How methods are evaluated."""

    template: PromptTemplate
    n_shots: int = 10
    """Demonstrations of the prompting that is compared with."""
    max_queries: int | None = None
    """Test rows to use, the first ones; all when None."""
    generated: bool = False
    """Generate answers too."""
    timed: bool = False
    """Record what each method cost; such an evaluation differs from run to run."""
    seed: int = 0


def evaluate_methods(
    model: LensModel, task: Task, methods: Sequence[Method], settings: EvaluationSettings
) -> Evaluation:
    """Evaluate methods on the same test queries; those that show equally many demonstrations ask the same prompts."""
    queries = task.test[: settings.max_queries]
    found: dict[str, dict[str, np.ndarray]] = {}
    costs: dict[str, MethodCost] = {}
    notes: dict[str, None] = {}
    for n_shots in dict.fromkeys(method.n_shots for method in methods):
        stream = seed_stream(settings.seed, task.digest, "evaluation", n_shots)
        prompts = few_shot_prompts(task, queries, settings.template, n_shots=n_shots, stream=stream).prompts
        asked = Asked.of(model, prompts)
        notes |= dict.fromkeys(asked.notes)
        for method, scores in score_methods(model, asked, [m for m in methods if m.n_shots == n_shots]):
            found[method.name] = scores.metrics
            costs[method.name] = MethodCost(
                n_trained=method.n_trained,
                stored_bytes=method.stored_bytes,
                fit_seconds=method.seconds,
                query_seconds=scores.seconds / len(queries),
            )
            if settings.generated:
                found[method.name] |= _matches(_generated(model, prompts, method), task.name, queries)
            notes |= dict.fromkeys(method.notes)
    metrics = next(iter(found.values()))
    return Evaluation(
        task=task.name,
        methods=tuple(method.name for method in methods),
        **{metric: np.stack([found[method.name][metric] for method in methods]) for metric in metrics},
        labelled_rows=tuple(method.n_labelled for method in methods),
        costs=tuple(costs[method.name] for method in methods) if settings.timed else (),
        queries=tuple(query.input for query in queries),
        targets=tuple(query.output for query in queries),
        n_shots=settings.n_shots,
        seed=settings.seed,
        template=settings.template,
        task_digest=task.digest,
        model=model.identity,
        family=task.family,
        versions=library_versions(),
        notes=tuple(notes),
    )


def _generated(model: LensModel, prompts: Sequence[Prompt], method: Method) -> list[str]:
    with method.around(model):
        return generate(
            model,
            [prompt.text for prompt in prompts],
            method.edits(model),
            every_step=method.every_step,
            on_logits=method.on_logits,
        )


def _matches(texts: Sequence[str], task: str, queries: Sequence[Example]) -> dict[str, np.ndarray]:
    pairs = list(zip(texts, queries, strict=True))
    return {
        "exact": np.array([exact_match(text, query.outputs) for text, query in pairs]),
        "prefix": np.array([prefix_match(text, query.output, task=task) for text, query in pairs]),
    }
