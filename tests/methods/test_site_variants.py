"""Variants of SITE: each differs from it in the one thing that its name says."""

from collections.abc import Callable

import numpy as np
import pytest

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.methods.first_token_metrics import score_methods
from site_lens.methods.method import Method, prompting
from site_lens.methods.site_variants import (
    all_heads_half,
    all_heads_one,
    cut_to_rows,
    equal_data_fits,
    site,
    site_equal_data,
    site_hard,
    site_one_prompt,
    site_random_heads,
    site_task_agnostic,
    site_zero_embedding,
)
from site_lens.models.base import LensModel
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import zero_shot_prompts

SMALL = ComparisonConfig(
    n_prompts=6, n_shots=4, n_valid=8, site=sl.SiteConfig(n_steps=12, batch_size=4, n_valid=8, eval_every=6)
)
TASKS = ("antonym", "english-french")


@pytest.fixture(scope="module")
def context(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    return ComparisonContext(demo, [demo_tasks[name] for name in TASKS], SMALL, progress=False)


def log_probs(context: ComparisonContext, *methods: Method) -> list[np.ndarray]:
    """Ask the methods some test queries of antonyms without demonstrations."""
    queries = context.tasks["antonym"].test[:8]
    asked = Queries.of(context.model, zero_shot_prompts(queries, context.config.template))
    return [scores.metrics["log_prob"] for _, scores in score_methods(context.model, asked, methods)]


def with_gates(context: ComparisonContext, gates: sl.HeadGates) -> ComparisonContext:
    """A new context on which SITE is said to have learned some gates."""
    fit = context.fits()["antonym"].replace(gates=gates.replace(task="antonym"))
    planted = ComparisonContext(context.model, context.tasks["antonym"], context.config, progress=False)
    planted.once((ComparisonContext.fits, planted.config.site_config().digest), lambda: sl.SiteFits([fit]))
    return planted


def test_closed_gates_are_zero_shot_prompting_in_every_form(context: ComparisonContext) -> None:
    closed = with_gates(context, sl.HeadGates.constant(context.model.grid, 0.0))
    methods = [make(closed, "antonym") for make in (site, site_hard, site_random_heads)]
    plain, *found = log_probs(context, prompting(0), *methods)
    assert all(np.array_equal(plain, one) for one in found)


def test_hard_alphas_are_soft_ones_rounded_at_one_half(context: ComparisonContext) -> None:
    rounded = with_gates(context, context.fits()["antonym"].gates.hard())
    soft, hard, planted = log_probs(
        context, site(context, "antonym"), site_hard(context, "antonym"), site(rounded, "antonym")
    )
    assert np.array_equal(hard, planted)
    assert not np.array_equal(soft, hard)


def test_open_gates_at_random_heads_are_as_many_as_site_opens_whichever_those_are(context: ComparisonContext) -> None:
    grid = context.model.grid
    half = sl.HeadGates.of(sl.HeadSet.random(grid, len(grid) // 2, seed=1))
    whole = sl.HeadGates.constant(grid, 1.0)
    n_changed = [_n_replaced(with_gates(context, gates)) for gates in (half, whole)]
    assert n_changed == [len(grid) // 2, len(grid)]


def _n_replaced(context: ComparisonContext) -> int:
    """Count the heads whose z the edits of random heads replace."""
    import torch

    grid, d_head = context.model.grid, context.model.identity.d_head
    zeros = torch.zeros(1, grid.n_heads, d_head)
    edits = site_random_heads(context, "antonym").edits(context.model)
    return sum(int(edit.change(zeros).any(-1).sum()) for edit in edits)


def test_all_heads_open_forget_the_query_and_half_open_ones_do_not(context: ComparisonContext) -> None:
    rows = tuple(sl.Example(row.input, ("cold",)) for row in context.tasks["antonym"].test[:6])
    asked = Queries.of(context.model, zero_shot_prompts(rows, context.config.template))
    methods = [all_heads_one(context, "antonym"), all_heads_half(context, "antonym")]
    whole, half = (scores.metrics["log_prob"] for _, scores in score_methods(context.model, asked, methods))
    # The last token is the same in every prompt: with all heads replaced nothing of the query reaches it.
    assert np.ptp(whole) < 1e-4 < np.ptp(half)


def test_one_prompt_and_zero_embedding_store_and_use_what_they_say(context: ComparisonContext) -> None:
    alphas = context.fits()["antonym"].gates.values.nbytes
    assert context.fits(n_prompts=1)["antonym"].embedding.n_prompts == 1
    assert site_one_prompt(context, "antonym").stored_bytes > alphas
    assert site_zero_embedding(context, "antonym").stored_bytes == alphas
    assert {make(context, "antonym").n_trained for make in (all_heads_one, site_random_heads)} == {0}


def test_task_agnostic_alphas_are_the_same_for_every_task_and_count_the_rows_of_all(context: ComparisonContext) -> None:
    methods = [site_task_agnostic(context, name) for name in TASKS]
    fits = context.fits(shared=True)
    assert np.array_equal(fits[TASKS[0]].gates.values, fits[TASKS[1]].gates.values)
    assert methods[0].n_labelled == methods[1].n_labelled > site(context, TASKS[0]).n_labelled


def test_equal_data_uses_as_many_labelled_rows_as_few_shot_prompting_shows(context: ComparisonContext) -> None:
    method = site_equal_data(context, "antonym")
    assert method.n_labelled == prompting(SMALL.n_shots).n_labelled == SMALL.n_shots
    assert method.notes == ("site_equal_data used 4 labelled rows in all",)
    fit = equal_data_fits(context)["antonym"]
    assert (fit.embedding.n_prompts, fit.embedding.n_shots, fit.n_valid) == (1, SMALL.n_shots - 1, 0)


@pytest.mark.parametrize("touch", ["unused rows", "a used row"])
def test_no_row_but_those_few_has_any_influence(context: ComparisonContext, touch: str) -> None:
    task = context.tasks["antonym"]
    used = set(cut_to_rows(task, SMALL.n_shots, seed=SMALL.seed).train)
    first = next(row for row in task.train if row in used)

    def other(is_changed: Callable[[sl.Example], bool], rows: tuple[sl.Example, ...]) -> tuple[sl.Example, ...]:
        return tuple(sl.Example(row.input, ("red",)) if is_changed(row) else row for row in rows)

    if touch == "unused rows":
        valid, test = other(lambda row: True, task.valid), other(lambda row: True, task.test)
        changed = sl.Task("antonym", other(lambda row: row not in used, task.train), valid, test)
    else:
        changed = sl.Task("antonym", other(lambda row: row == first, task.train), task.valid, task.test)
    elsewhere = ComparisonContext(context.model, changed, SMALL, progress=False)
    before, after = log_probs(context, site_equal_data(context, "antonym"), site_equal_data(elsewhere, "antonym"))
    # A joint fit follows the path of a separate one up to rounding.
    assert (np.abs(before - after).max() < 1e-3) == (touch == "unused rows")
