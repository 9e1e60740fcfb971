"""Variants of SITE: each differs from it in the one thing that its name says."""

import numpy as np
import pytest
import torch

import site_lens as sl
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
from tests.methods.conftest import answers

SMALL = ComparisonConfig(
    n_prompts=6, n_shots=4, n_valid=8, site=sl.SiteConfig(n_steps=12, batch_size=4, n_valid=8, eval_every=6)
)
TASKS = ("antonym", "english-french")


@pytest.fixture(scope="module")
def context(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    return ComparisonContext(demo, [demo_tasks[name] for name in TASKS], SMALL, progress=False)


def with_gates(context: ComparisonContext, gates: sl.HeadGates) -> ComparisonContext:
    """A new context on which SITE is said to have learned some gates."""
    fit = context.fits()["antonym"].replace(gates=gates.replace(task="antonym"))
    planted = ComparisonContext(context.model, context.tasks["antonym"], context.config, progress=False)
    planted.once((ComparisonContext.fits, planted.config.site_config().digest), lambda: sl.SiteFits([fit]))
    return planted


def log_probs(context: ComparisonContext, *methods: Method) -> list[np.ndarray]:
    """Ask the methods some test queries of antonyms without demonstrations."""
    rows = context.tasks["antonym"].test[:8]
    return [scores.metrics["log_prob"] for scores in answers(context, rows, *methods)]


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
    zeros = torch.zeros(1, grid.n_heads, context.model.identity.d_head)
    for heads in (sl.HeadSet.random(grid, len(grid) // 2, seed=1), ~sl.HeadSet.of(grid, [])):
        edits = site_random_heads(with_gates(context, sl.HeadGates.of(heads)), "antonym").edits(context.model)
        assert sum(int(edit.change(zeros).any(-1).sum()) for edit in edits) == len(heads)


def test_all_heads_open_forget_the_query_and_half_open_ones_do_not(context: ComparisonContext) -> None:
    rows = tuple(sl.Example(row.input, ("cold",)) for row in context.tasks["antonym"].test[:6])
    methods = [make(context, "antonym") for make in (all_heads_one, all_heads_half)]
    whole, half = (scores.metrics["log_prob"] for scores in answers(context, rows, *methods))
    # The last token is the same in every prompt: with all heads replaced nothing of the query reaches it.
    assert np.ptp(whole) < 1e-4 < np.ptp(half)


def test_one_prompt_stores_its_embedding_and_gates_alone_store_none(context: ComparisonContext) -> None:
    alphas = context.fits()["antonym"].gates.values.nbytes
    assert site_one_prompt(context, "antonym").stored_bytes > alphas
    assert site_zero_embedding(context, "antonym").stored_bytes == alphas


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


def test_no_row_but_those_few_has_any_influence(context: ComparisonContext) -> None:
    task = context.tasks["antonym"]
    used = set(cut_to_rows(task, SMALL.n_shots, seed=SMALL.seed).train)

    def other(rows: tuple[sl.Example, ...], kept: set[sl.Example]) -> tuple[sl.Example, ...]:
        return tuple(row if row in kept else sl.Example(row.input, ("red",)) for row in rows)

    unused = sl.Task("antonym", other(task.train, used), other(task.valid, used), other(task.test, set(task.test)))
    touched = sl.Task("antonym", other(task.train, set(sorted(used, key=repr)[1:])), task.valid, task.test)
    (before,) = log_probs(context, site_equal_data(context, "antonym"))
    for changed, is_same in ((unused, True), (touched, False)):
        elsewhere = ComparisonContext(context.model, changed, SMALL, progress=False)
        (after,) = log_probs(context, site_equal_data(elsewhere, "antonym"))
        # A joint fit follows the path of a separate one up to rounding.
        assert (np.abs(before - after).max() < 1e-3) == is_same
