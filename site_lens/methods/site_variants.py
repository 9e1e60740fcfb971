"""SITE, and what it is compared with to see which of its parts matters."""

from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.injection import injection_edits
from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import HeadGates
from site_lens.methods.method import Method, site_methods, sparse_methods
from site_lens.records.errors import FitError, InputError, NoHeadSetError
from site_lens.records.hashing import seed_stream
from site_lens.selectors.context import ComparisonContext, once
from site_lens.site.fit import FAILED, STATUSES, SiteFit, SiteFits
from site_lens.site.fitting import fit_site
from site_lens.tasks.prompt_sampling import need_rows
from site_lens.tasks.task import Task


def site(context: ComparisonContext, task: str) -> Method:
    """SITE as fitted: soft alphas."""
    return _fitted("site", context.fits()[task])


def site_hard(context: ComparisonContext, task: str) -> Method:
    """SITE with alphas rounded at 0.5."""
    return _fitted("site", context.fits()[task], variant="_hard")


def site_top_k(context: ComparisonContext, task: str) -> Method:
    """Alpha 1 at the k heads of highest alpha, k the rounded sum of all alphas."""
    return _fitted("site", context.fits()[task], variant="_top_k")


def site_sparse(context: ComparisonContext, task: str) -> Method:
    """The chosen head set of the task's path, replaced wholly by the embedding.

    Raises:
        NoHeadSetError: No set was found.
        FitError: A fit of the task is not finite.
    """
    return _sparse(context, task, "site_sparse")


def gates_sparse(context: ComparisonContext, task: str) -> Method:
    """No more heads than the chosen set has, chosen under the same price without an embedding, and silenced.

    Raises:
        NoHeadSetError: No set was found.
        FitError: A fit of the task is not finite.
    """
    return _sparse(context, task, "gates_sparse")


def _sparse(context: ComparisonContext, task: str, name: str) -> Method:
    path = context.paths().get(task)
    if path is None:
        raise FitError(f"a fit of {task!r} is not finite, so that there is no head path")
    methods = {method.kind: method for method in sparse_methods(path)}
    if name not in methods:
        raise NoHeadSetError(path.sentence)
    return methods[name]


def site_one_prompt(context: ComparisonContext, task: str) -> Method:
    """SITE with the embedding of one few-shot prompt: M = 1."""
    return _fitted("site_one_prompt", context.fits(n_prompts=1)[task])


def site_zero_embedding(context: ComparisonContext, task: str) -> Method:
    """Gates alone: alpha mixes zeros in instead of the task embedding, by the convex rule."""
    # Adding zeros, or scaling a head back to its own norm, would change nothing.
    return _fitted("site_zero_embedding", context.fits(embedding="zero", mix="convex")[task])


def site_task_agnostic(context: ComparisonContext, task: str) -> Method:
    """One alpha map for all tasks of the context, with each task's own embedding.

    Raises:
        InputError: The context has one task only.
    """
    if len(context.tasks) < 2:
        raise InputError("site_task_agnostic needs a second task; leave it out or add one")
    return _fitted("site_task_agnostic", context.fits(shared=True)[task])


def site_random_heads(context: ComparisonContext, task: str) -> Method:
    """Alpha 1 at as many heads as SITE opens (alpha above 0.5), drawn at random from all layers."""
    fit, seed = context.fits()[task], int(context.stream(task, "random heads").integers(2**32))
    drawn = HeadSet.random(context.model.grid, len(fit.gates.above(0.5)), seed=seed)
    # How many heads to draw was learned from the rows of the fit.
    gates = HeadGates.of(drawn, mix=fit.gates.mix)
    return _unlearned("site_random_heads", gates, fit.embedding, n_labelled=fit.n_labelled)


def all_heads_one(context: ComparisonContext, task: str) -> Method:
    """Alpha 1 at every head: the task embedding in place of all heads' outputs."""
    return _everywhere("all_heads_one", context, task, 1.0)


def all_heads_half(context: ComparisonContext, task: str) -> Method:
    """Alpha 0.5 at every head: where SITE starts."""
    return _everywhere("all_heads_half", context, task, 0.5)


def site_equal_data(context: ComparisonContext, task: str) -> Method:
    """SITE on N labelled rows in all, as many as few-shot prompting shows.

    The embedding is that of one prompt of N - 1 demonstrations that asks for the remaining row; training queries are
    the N rows, and the last alphas are kept. No other row has any influence.

    Raises:
        InputError: N is 1, which leaves no demonstration, or the task has fewer train rows.
    """
    fit = equal_data_fits(context)[task]
    return _fitted("site_equal_data", fit, f"site_equal_data used {fit.n_labelled} labelled rows in all")


@once
def equal_data_fits(context: ComparisonContext) -> SiteFits:
    """Fit SITE on N train rows of every task."""
    config = context.config
    if config.n_shots < 2:
        raise InputError("SITE on n_shots rows in all needs n_shots of at least 2; raise it or leave it out")
    settings = config.site_config(
        n_prompts=1, n_shots=config.n_shots - 1, n_queries=None, keep="last", patience=None, n_valid=1, shared=False
    )
    tasks = [cut_to_rows(task, config.n_shots, seed=config.seed) for task in context.tasks.values()]
    return fit_site(context.model, tasks, settings, template=config.template, throw=False, **context.resources)


def cut_to_rows(task: Task, n_rows: int, *, seed: int) -> Task:
    """Draw train rows of a task, and make of them a task that knows no other row."""
    need_rows(task, len(task.train), n_rows)
    # By name instead of digest: the digest, and so the draw, would depend on all rows.
    stream = seed_stream(seed, task.name, "equal data")
    rows = tuple(task.train[i] for i in stream.choice(len(task.train), n_rows, replace=False))
    return Task(task.name, rows, rows, rows, task.family)


def _fitted(name: str, fit: SiteFit, *notes: str, variant: str = "") -> Method:
    if fit.status in FAILED:
        notes += (f"{name}: {STATUSES[fit.status]}",)
    ways = site_methods(name, fit, notes)
    if variant not in ways:
        raise NoHeadSetError(f"{fit.task}: all alphas are alike, there is nothing to round")
    return ways[variant]


def _everywhere(name: str, context: ComparisonContext, task: str, alpha: float) -> Method:
    gates = HeadGates.constant(context.model.grid, alpha, mix=context.config.site.mix)
    return _unlearned(name, gates, context.embeddings()[task], n_labelled=context.labelled("embedding", task=task))


def _unlearned(name: str, gates: HeadGates, embedding: TaskEmbedding, *, n_labelled: int) -> Method:
    """Inject a task embedding at gates that no optimiser made."""
    return Method(
        name,
        edits=lambda model: injection_edits(model, gates, embedding),
        n_labelled=n_labelled,
        stored_bytes=gates.values.nbytes + embedding.mean.nbytes,
        n_heads=None if gates.undecided(0, 1) else int(gates.mass()),
    )
