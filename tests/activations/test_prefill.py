"""Prefill of prefixes in any order, under a budget, each computed as rarely as the budget allows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.benchmarks.measuring import peak_bytes
from analysis.benchmarks.two_parts import step
from site_lens.activations import prefill
from site_lens.activations.prefill import (
    GPU_ROWS_PER_DECODE,
    ROWS_PER_DECODE,
    SMALL_ROWS,
    PrefixPool,
    PrefixSchedule,
    length_batches,
    prefill_prompts,
    rows_per_decode,
    shared_beginnings,
)
from site_lens.methods.lora import LoraAdapter
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from tests.conftest import Models
from tests.hosts import EVERY_HOST


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 200))
@settings(deadline=None, max_examples=100)
def test_length_batches_hold_every_prompt_once_and_stay_under_their_size(lengths: list[int], limit: int) -> None:
    groups = list(length_batches(lengths, max_tokens=limit))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) * max(lengths[i] for i in group) <= limit or len(group) == 1


@pytest.fixture(scope="module")
def ids(demo: LensModel) -> list[list[int]]:
    words = ["hot", "big", "dog, cat, red", "old", "dog, cat, red, one, tree"]
    return demo.encoder.encode([f"Q: {word}\nA:" for word in words])


def logits_of(model: LensModel, prompts: list[list[int]]) -> torch.Tensor:
    return model.forward(Batch.of(prompts, pad=model.encoder.pad, device=model.device))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=20))
@settings(deadline=None, max_examples=100)
def test_prompts_of_a_group_begin_alike_in_half_of_their_tokens_or_more(prompts: list[list[int]]) -> None:
    groups = shared_beginnings(prompts)
    assert sorted(i for _, members in groups for i in members) == list(range(len(prompts)))
    for length, members in groups:
        assert len({tuple(prompts[i][:length]) for i in members}) == 1
        assert 2 * length >= max(len(prompts[i]) for i in members)


@pytest.mark.parametrize("case", EVERY_HOST)
def test_a_beginning_that_prompts_share_is_computed_once_and_changes_nothing(case: str, hosted: Models) -> None:
    model, stream = hosted(case), np.random.default_rng(0)
    first, second = (stream.integers(3, 30, n).tolist() for n in (9, 6))
    ends = [[4], [5, 6, 7], [8, 9, 3], [7, 7]]
    prompts = [*([*first, *end] for end in ends), *([*second, *end] for end in ends), [3, 4, 5], [*first, *ends[0]]]
    assert [length for length, _ in shared_beginnings([row[:-1] for row in prompts])].count(9) == 1
    prefix, row_of = prefill_prompts(model, prompts)
    tail = torch.tensor([[row[-1]] for row in prompts], device=model.device)
    logits, _ = model.decode(prefix.rows(torch.tensor(row_of)), tail)
    for row, found in zip(prompts, logits[:, -1], strict=True):
        assert (found - logits_of(model, [row])).abs().max() < 2e-4


@pytest.mark.parametrize("budget", [1, 20_000, 2**30])
def test_every_access_gets_its_prompts_whatever_the_budget(demo: LensModel, ids: list[list[int]], budget: int) -> None:
    accesses = [np.array([0, 2, 2]), np.array([4, 1]), np.array([3, 0, 4, 2])]
    schedule = PrefixSchedule(demo, ids, accesses, budget_bytes=budget)
    for i, wanted in enumerate(accesses):
        served = []
        for places, prefix in schedule.take(i):
            served += places.tolist()
            prompts = [ids[p] for p in wanted[places]]
            logits, _ = demo.decode(prefix, torch.tensor([[prompt[-1]] for prompt in prompts]))
            assert (logits[:, -1] - logits_of(demo, prompts)).abs().max() < 1e-4
        assert served == list(range(len(wanted)))


def test_each_prompt_is_computed_once_where_there_is_room_and_again_where_it_could_not_be_kept(
    demo: LensModel, ids: list[list[int]]
) -> None:
    accesses = [np.array([0, 1]), np.array([1, 2]), np.array([0, 4])] * 5
    for budget, expected in ((2**30, 4), (1, 30)):
        schedule = PrefixSchedule(demo, ids, accesses, budget_bytes=budget)
        for i in range(len(accesses)):
            list(schedule.take(i))
        assert schedule.n_prefilled == expected


def test_prefixes_held_stay_under_the_budget_even_when_lengths_differ(demo: LensModel) -> None:
    budget, long = 400_000, "Q: " + "dog, " * 60 + "red\nA:"
    prompts = demo.encoder.encode([long, *(f"Q: {word}\nA:" for word in ("hot", "big", "old", "red", "day"))])
    accesses = [np.array([1, 2, 3, 4, 5]), np.array([0, 1, 2, 3, 4, 5]), np.array([2, 5])]
    schedule = PrefixSchedule(demo, prompts, accesses, budget_bytes=budget)
    for i in range(len(accesses)):
        for _, prefix in schedule.take(i):
            assert sum(block.n_bytes for block in schedule._pool._blocks) <= budget
            assert prefix.n_bytes <= budget / 2 or len(prefix.lengths) == 1


@given(asks=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=5), room=st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_pool_answers_as_prompts_alone_do_whatever_was_asked_before(
    demo: LensModel, asks: list[list[int]], room: bool
) -> None:
    ids = demo.encoder.encode([f"Q: {word}\nA:" for word in ("hot", "big", "dog, cat, red", "old", "one, tree")])
    alone = logits_of(demo, ids)
    n_computed = 0
    with demo.locked():
        for asked in asks:
            pool, wanted = PrefixPool.of(demo), [ids[i] for i in asked]
            n_computed += pool.hold(wanted, 1000 if room else 30)
            prefix, rows = pool.rows(wanted)
            tail = torch.tensor([[ids[i][-1]] for i in asked])
            logits, _ = demo.decode(prefix.rows(torch.tensor(rows)), tail)
            assert (logits[:, -1] - alone[asked]).abs().max() < 1e-4
        assert demo.kept
    assert not demo.kept  # forgotten at the end of a call
    assert not room or n_computed == len({i for asked in asks for i in asked})


def test_queries_under_an_adapter_are_not_asked_of_prefixes_that_were_computed_without_it(
    demo: LensModel, ids: list[list[int]]
) -> None:
    adapter = LoraAdapter(demo, rank=2, stream=np.random.default_rng(0))
    with torch.no_grad():
        for weight in adapter.weights:
            weight.fill_(0.1)
    with demo.locked():
        PrefixPool.of(demo).hold(ids, 1000)
        with adapter.switched_on(demo):
            pool = PrefixPool.of(demo)
            n_computed = pool.hold(ids, 1000)
            prefix, rows = pool.rows(ids)
            logits, _ = demo.decode(prefix.rows(torch.tensor(rows)), torch.tensor([[row[-1]] for row in ids]))
            assert n_computed == len(ids)
            assert (logits[:, -1] - logits_of(demo, ids)).abs().max() < 1e-4
        assert PrefixPool.of(demo).hold(ids, 1000) == len(ids)


def test_rows_of_a_decode_follow_the_free_memory_of_a_gpu(demo: LensModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_per_decode(demo) == SMALL_ROWS
    monkeypatch.setattr(prefill, "SMALL_DECODE", 0)  # as if the model were large
    assert rows_per_decode(demo) == ROWS_PER_DECODE

    def rows(free: int) -> int:
        monkeypatch.setattr(prefill, "free_memory", lambda device: free)
        return rows_per_decode(demo)

    assert (rows(0), rows(2**40)) == (1, GPU_ROWS_PER_DECODE)
    free = 64 * 2**20
    batch = Batch.of([[3, 4, 5, 6]] * rows(free), pad=demo.encoder.pad, device=demo.device)
    needed = peak_bytes(step(demo, batch, demo.prefill(batch.without_tail(1))), demo.device)
    assert free / 8 < needed < free
