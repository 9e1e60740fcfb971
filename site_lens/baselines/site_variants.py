"""SITE, and what it is compared with to see which of its parts matters."""

from site_lens.core.digests import seed_stream
from site_lens.core.embedding import TaskEmbedding
from site_lens.core.errors import InputError
from site_lens.core.fits import STATUSES, SiteFit, SiteFits
from site_lens.core.heads import HeadSet
from site_lens.core.sampling import need_rows
from site_lens.core.scores import HeadGates
from site_lens.core.tasks import Task
from site_lens.interventions.methods import Method, site_methods
from site_lens.interventions.patching import inject
from site_lens.selectors.site import fit_site
from site_lens.selectors.workbench import Workbench, once


def site(bench: Workbench, task: str) -> Method:
    """SITE as fitted: soft alphas."""
    return _fitted("site", bench.fits()[task])


def site_hard(bench: Workbench, task: str) -> Method:
    """SITE with alphas rounded at 0.5."""
    return _fitted("site", bench.fits()[task], variant="_hard")


def site_top_k(bench: Workbench, task: str) -> Method:
    """Alpha 1 at the k heads of highest alpha, k the rounded sum of all alphas."""
    return _fitted("site", bench.fits()[task], variant="_top_k")


def site_one_prompt(bench: Workbench, task: str) -> Method:
    """SITE with the embedding of one few-shot prompt: M = 1."""
    return _fitted("site_one_prompt", bench.fits(n_prompts=1)[task])


def site_zero_embedding(bench: Workbench, task: str) -> Method:
    """Gates alone: alpha mixes zeros in instead of the task embedding, by the convex rule."""
    # Adding zeros, or scaling a head back to its own norm, would change nothing.
    return _fitted("site_zero_embedding", bench.fits(embedding="zero", mix="convex")[task])


def site_task_agnostic(bench: Workbench, task: str) -> Method:
    """One alpha map for all tasks of the bench, with each task's own embedding.

    Raises:
        InputError: The bench has one task only.
    """
    if len(bench.tasks) < 2:
        raise InputError("site_task_agnostic needs a second task; leave it out or add one")
    return _fitted("site_task_agnostic", bench.fits(shared=True)[task])


def site_random_heads(bench: Workbench, task: str) -> Method:
    """Alpha 1 at as many heads as SITE opens (alpha above 0.5), drawn at random from all layers."""
    fit, grid = bench.fits()[task], bench.model.grid
    stream = seed_stream(bench.config.seed, bench.tasks[task].digest, "random heads")
    drawn = HeadSet.random(grid, len(fit.gates.above(0.5)), seed=int(stream.integers(2**32)))
    # How many heads to draw was learned from the rows of the fit.
    gates = HeadGates.of(drawn, mix=fit.gates.mix)
    return _unlearned("site_random_heads", gates, fit.embedding, n_labelled=fit.n_labelled)


def all_heads_one(bench: Workbench, task: str) -> Method:
    """Alpha 1 at every head: the task embedding in place of all heads' outputs."""
    return _everywhere("all_heads_one", bench, task, 1.0)


def all_heads_half(bench: Workbench, task: str) -> Method:
    """Alpha 0.5 at every head: where SITE starts."""
    return _everywhere("all_heads_half", bench, task, 0.5)


def site_equal_data(bench: Workbench, task: str) -> Method:
    """SITE on N labelled rows in all, as many as few-shot prompting shows.

    The embedding is that of one prompt of N - 1 demonstrations that asks for the remaining row; training queries are
    the N rows, and the last alphas are kept. No other row has any influence.

    Raises:
        InputError: N is 1, which leaves no demonstration, or the task has fewer train rows.
    """
    fit = equal_data_fits(bench)[task]
    return _fitted("site_equal_data", fit, f"site_equal_data used {fit.n_labelled} labelled rows in all")


@once
def equal_data_fits(bench: Workbench) -> SiteFits:
    """Fit SITE on N train rows of every task."""
    config = bench.config
    if config.n_shots < 2:
        raise InputError("SITE on n_shots rows in all needs n_shots of at least 2; raise it or leave it out")
    settings = config.site_config(
        n_prompts=1, n_shots=config.n_shots - 1, n_queries=None, keep="last", patience=None, n_valid=1, shared=False
    )
    tasks = [cut_to_rows(task, config.n_shots, seed=config.seed) for task in bench.tasks.values()]
    return fit_site(
        bench.model,
        tasks,
        settings,
        template=config.template,
        budget_bytes=bench.budget_bytes,
        throw=False,
        progress=bench.progress,
    )


def cut_to_rows(task: Task, n_rows: int, *, seed: int) -> Task:
    """Draw train rows of a task, and make of them a task that knows no other row."""
    need_rows(task, len(task.train), n_rows)
    # By name instead of digest: the digest, and so the draw, would depend on all rows.
    stream = seed_stream(seed, task.name, "equal data")
    rows = tuple(task.train[i] for i in stream.choice(len(task.train), n_rows, replace=False))
    return Task(task.name, rows, rows, rows, task.family)


def _fitted(name: str, fit: SiteFit, *notes: str, variant: str = "") -> Method:
    if fit.status in ("nonfinite", "diverged"):
        notes += (f"{name}: {STATUSES[fit.status]}",)
    return site_methods(name, fit, notes)[variant]


def _everywhere(name: str, bench: Workbench, task: str, alpha: float) -> Method:
    gates = HeadGates.constant(bench.model.grid, alpha, mix=bench.config.site.mix)
    return _unlearned(name, gates, bench.embeddings()[task], n_labelled=bench.labelled("embedding", task=task))


def _unlearned(name: str, gates: HeadGates, embedding: TaskEmbedding, *, n_labelled: int) -> Method:
    """Inject a task embedding at gates that no optimiser made."""
    return Method(
        name,
        edits=lambda model: inject(model, gates, embedding),
        n_labelled=n_labelled,
        stored_bytes=gates.values.nbytes + embedding.mean.nbytes,
    )
