"""Cached queries give the same answers whatever the memory they may take."""

import pytest
import torch

import site_lens as sl
from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts
from tests.conftest import Tasks
from tests.little_memory import allow_rows


@pytest.fixture(scope="module")
def prompts(demo_tasks: Tasks) -> tuple[sl.Prompt, ...]:
    task = demo_tasks["antonym"]
    return few_shot_prompts(task, task.test[:7], sl.PromptTemplate(), n_shots=3, stream=seed_stream("held")).prompts


@pytest.fixture(scope="module")
def variants(demo: LensModel) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    alphas = torch.rand(5, *demo.grid.shape, generator=draw)
    return alphas, torch.randn(3, *demo.grid.shape, demo.identity.d_head, generator=draw)


def test_a_small_budget_changes_no_answer(
    demo: LensModel, prompts: tuple[sl.Prompt, ...], variants: tuple[torch.Tensor, torch.Tensor]
) -> None:
    owners, whole = torch.tensor([0, 2, 1, 1, 0]), CachedQueries(demo, prompts)
    expected = whole.answers(*variants, owners)
    for budget in (1, 400_000):
        part = CachedQueries(demo, prompts, budget_bytes=budget)
        answers = part.answers(*variants, owners)
        assert torch.allclose(answers.log_prob, expected.log_prob, atol=1e-4)
        assert torch.equal(answers.right, expected.right)
        assert torch.allclose(whole.under([]).log_prob, part.under([]).log_prob, atol=1e-4)
        for numbers, others in zip(whole.gradients(torch.exp), part.gradients(torch.exp), strict=True):
            assert torch.allclose(numbers, others, atol=1e-4)


def test_memory_that_runs_out_halves_the_variants_and_changes_no_answer(
    demo: LensModel,
    prompts: tuple[sl.Prompt, ...],
    variants: tuple[torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners, queries = torch.tensor([0, 2, 1, 1, 0]), CachedQueries(demo, prompts)
    expected = queries.answers(*variants, owners)
    tried = allow_rows(monkeypatch, 2 * len(prompts))
    answers = queries.answers(*variants, owners)
    assert [n // len(prompts) for n in tried] == [5, 3, 2, 1, 2]
    assert torch.allclose(answers.log_prob, expected.log_prob, atol=1e-4)
    assert torch.equal(answers.right, expected.right)


def test_every_prompt_may_mix_in_an_embedding_of_its_own(
    demo: LensModel, prompts: tuple[sl.Prompt, ...], variants: tuple[torch.Tensor, torch.Tensor]
) -> None:
    alphas, embeddings = variants
    owners = torch.tensor([[0, 1, 2, 0, 1, 2, 0], [2, 2, 2, 1, 1, 1, 0]])
    answers = CachedQueries(demo, prompts, budget_bytes=400_000).answers(alphas[:2], embeddings, owners)
    heads = demo.grid.heads_per_layer
    for i, prompt in enumerate(prompts):
        alone = CachedQueries(demo, [prompt])
        for v in range(2):
            edits = injection(alphas[v][None], embeddings, owners[v, i][None], heads_per_layer=heads, column=0)
            assert alone.under(edits).log_prob[0, 0] == pytest.approx(float(answers.log_prob[v, i]), abs=1e-4)
