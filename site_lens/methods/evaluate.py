"""Evaluation of methods on the same test queries of a task."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from site_lens.activations.generation import generate_answers
from site_lens.activations.queries import Queries, first_tokens
from site_lens.methods.evaluation import Evaluation, Evaluations, MethodCost
from site_lens.methods.first_token_metrics import Scores, score_methods
from site_lens.methods.method import Method, Pairs, fits_of, methods_for
from site_lens.methods.names import EvaluatedMethod
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.records.progress import progress_bar
from site_lens.site.fit import SiteFits, gates_and_embedding
from site_lens.site.head_path import HeadPaths
from site_lens.tasks.answer_matching import exact_match, first_lines, prefix_match
from site_lens.tasks.prompt_sampling import MAX_QUERIES, assign_sets, few_shot_prompts, sample_rows
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Example, Task, task_list

N_SETS = 10
"""Sets of demonstrations that queries share on large models, by default."""

FEWEST_SETS = 5
"""Sets below which an interval over sets does not cover what it says (`tests/stats/test_coverage.py`)."""


@on_model
def evaluate(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits | Pairs | None = None,
    *,
    controls: Mapping[str, SiteFits | Pairs] | None = None,
    paths: HeadPaths | None = None,
    n_shots: int = 10,
    n_sets: int | None = None,
    max_queries: int | None = MAX_QUERIES,
    generated: bool = False,
    template: PromptTemplate | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Evaluations:
    """Measure zero-shot, few-shot, SITE (soft, hard, controls) and chosen head sets on the same test queries.

    Args:
        model: The model.
        tasks: The tasks; queries are their test rows, demonstrations their train rows.
        fits: Fits by task, or `{task: (gates, embedding)}` of any origin, such as the published code's files; without
            them only prompting is measured.
        controls: Further fits by the name of their method, such as `{"site_zero_embedding": fits}`.
        paths: Head paths of `fit_path`, whose chosen sets are measured as `site_sparse`, and without an embedding as
            `gates_sparse`; a task without a chosen set has neither.
        n_shots: Demonstrations of few-shot prompting.
        n_sets: Sets of demonstrations to draw, 5 or more. Queries share them, so that their prefix is computed once;
            intervals and tests of few-shot prompting are then those of clusters. With 0 demonstrations are drawn anew
            for each query, as in the paper. When None: 0, and 10 on models above 50 million weights.
        max_queries: Test rows to ask, a random sample; all when None. The sample depends on the content of the rows
            alone, so that evaluations of other methods, seeds and runs ask the same; the record holds the rows.
        generated: Generate answers too, for exact and prefix match; several times slower.
        template: How examples become text; that of fits, controls or paths, or the paper's, when None.
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
    check_sizes(n_shots=n_shots, n_sets=n_sets, max_queries=max_queries, seed=seed)
    asked = []
    for task in wanted:
        path = None if paths is None else paths.get(task.name)
        given = [("site", fits), *(controls or {}).items()]
        fitted = [(name, fit) for name, each in given for fit in fits_of(name, task, each)]
        templates = [gates_and_embedding(fit)[1].template for _, fit in fitted]
        templates += [] if path is None else [path.template]
        chosen = template or next(iter(templates), PromptTemplate())
        methods = methods_for(model, task, fitted, path, n_shots=n_shots, template=chosen)
        settings = EvaluationSettings(chosen, n_shots, max_queries, generated, n_sets=n_sets, seed=seed)
        asked.append((task, methods, settings))
    n_answers = sum(min(max_queries or len(task.test), len(task.test)) * len(methods) for task, methods, _ in asked)
    with progress_bar(n_answers, "evaluating", unit="answer", progress=progress) as bar:
        return Evaluations([evaluate_methods(model, *of_task, answered=bar.update) for of_task in asked])


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Settings of an evaluation of methods."""

    template: PromptTemplate
    n_shots: int = 10
    """Demonstrations of the prompting that is compared with."""
    max_queries: int | None = MAX_QUERIES
    """Test rows to ask, a sample (see `evaluate`); all when None."""
    generated: bool = False
    """Generate answers too."""
    timed: bool = False
    """Record what each method cost; such an evaluation differs from run to run."""
    n_sets: int | None = None
    """Sets of demonstrations that queries share; see `evaluate`."""
    seed: int = 0

    def sets_of(self, model: LensModel, task: Task, n_queries: int) -> tuple[int, ...]:
        """Return the set of demonstrations of each query; nothing where they are drawn anew for each."""
        n_sets = shared_sets(model, self.n_sets)
        stream = seed_stream(self.seed, task.digest, "sets of demonstrations")
        return assign_sets(n_queries, n_sets if n_sets < n_queries else 0, stream)


def shared_sets(model: LensModel, n_sets: int | None) -> int:
    """Return how many sets of demonstrations queries share, 0 for none, where None leaves it to the model's size.

    Raises:
        InputError: There are too few sets for an interval over them.
    """
    n_sets = (N_SETS if model.is_large else 0) if n_sets is None else n_sets
    if 0 < n_sets < FEWEST_SETS:
        raise InputError(f"n_sets must be 0, or {FEWEST_SETS} or more, for an interval over sets; got {n_sets}")
    return n_sets


def evaluate_methods(
    model: LensModel,
    task: Task,
    methods: Sequence[Method],
    settings: EvaluationSettings,
    *,
    answered: Callable[[int], object] | None = None,
) -> Evaluation:
    """Evaluate methods on the same test queries; those that show equally many demonstrations ask the same prompts.

    Args:
        model: The model.
        task: The task.
        methods: The methods.
        settings: Settings of the evaluation.
        answered: Told how many first tokens came in, again and again.
    """
    rows = sample_rows(task.test, settings.max_queries)
    queries = [task.test[row] for row in rows]
    sets = settings.sets_of(model, task, len(queries))
    results: dict[EvaluatedMethod, dict[str, Any]] = {}
    shown = ""
    notes: dict[str, None] = dict.fromkeys(_sampling_notes(task, len(rows), sets))
    nonfinite: dict[tuple[int, ...], list[str]] = {}
    for n_shots in dict.fromkeys(method.n_shots for method in methods):
        stream = seed_stream(settings.seed, task.digest, "evaluation", n_shots)
        drawn = few_shot_prompts(task, queries, settings.template, n_shots=n_shots, stream=stream, set_of=sets)
        shown = drawn.prompts[0].text if n_shots == settings.n_shots else shown
        tokens = Queries.of(model, drawn.prompts)
        notes |= dict.fromkeys(tokens.notes)
        same_prompts = [method for method in methods if method.n_shots == n_shots]
        for method, scores in score_methods(model, tokens, same_prompts, answered=answered):
            result = _result(model, method, scores)
            if settings.generated:
                result |= _generated(model, task.name, queries, drawn.prompts, method, scores.nonfinite)
            if settings.timed:
                result["costs"] = MethodCost(
                    n_trained=method.n_trained,
                    stored_bytes=method.stored_bytes,
                    fit_seconds=method.seconds,
                    query_seconds=scores.seconds / len(queries),
                )
            results[method.evaluated] = result
            notes |= dict.fromkeys(method.notes)
            if scores.nonfinite:
                nonfinite.setdefault(tuple(sorted(scores.nonfinite)), []).append(method.name)
    for places, names in nonfinite.items():
        first = f"test row {places[0]} ({queries[places[0]].input!r})"
        notes[
            f"{len(places)} of {len(queries)} queries, the first of them {first}, got logits that are not finite in "
            f"{model.identity.dtype} under {', '.join(names)}: counted as wrong"
        ] = None
    evaluated = tuple(method.evaluated for method in methods)
    return Evaluation(
        task=task.name,
        evaluated=evaluated,
        **{name: tuple(results[method][name] for method in evaluated) for name in results[evaluated[0]]},
        prompt=shown,
        queries=tuple(query.input for query in queries),
        targets=tuple(query.output for query in queries),
        n_shots=settings.n_shots,
        set_of_query=sets,
        seed=settings.seed,
        template=settings.template,
        task_digest=task.digest,
        query_rows=tuple(rows),
        first_tokens=first_tokens(model, queries, settings.template),
        model=model.identity,
        family=task.family,
        versions=library_versions(),
        notes=tuple(notes),
    )


def _result(model: LensModel, method: Method, scores: Scores) -> dict[str, Any]:
    """Return the row of a method in the fields of its evaluation."""
    texts = model.encoder.texts(scores.top_tokens.tolist())
    top_tokens = tuple("" if i in scores.nonfinite else text for i, text in enumerate(texts))
    return {**scores.metrics, "top_tokens": top_tokens, "labelled_rows": method.n_labelled, "n_heads": method.n_heads}


def _sampling_notes(task: Task, n_asked: int, sets: Sequence[int]) -> Iterator[str]:
    if n_asked < len(task.test):
        yield f"a random sample of {n_asked} of the {len(task.test)} test rows was asked"
    if sets:
        yield (
            f"queries share {len(set(sets))} sets of demonstrations, where the paper draws them anew for each query; "
            "intervals and tests of few-shot prompting are over sets"
        )


def _generated(
    model: LensModel,
    task: str,
    queries: Sequence[Example],
    prompts: Sequence[Prompt],
    method: Method,
    nonfinite: list[int],
) -> dict[str, Any]:
    """Generate the answers of a method and match them; those of queries without finite logits are wrong."""
    with method.around(model):
        edits = method.edits(model)
        answers = generate_answers(model, prompts, edits, every_step=method.every_step, on_logits=method.on_logits)
    pairs = list(zip(answers, queries, strict=True))
    exact = np.array([exact_match(answer, query.outputs) for answer, query in pairs])
    prefix = np.array([prefix_match(answer, query.output, task=task) for answer, query in pairs])
    exact[nonfinite] = prefix[nonfinite] = False
    texts = tuple(first_lines(answer, query.output) for answer, query in pairs)
    return {"exact": exact, "prefix": prefix, "texts": texts}
