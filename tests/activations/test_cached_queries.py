"""Held prompts answer the same whatever the memory they may take."""

import pytest
import torch

import site_lens as sl
from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts


def prompts_of(task: sl.Task) -> tuple[sl.Prompt, ...]:
    template = sl.PromptTemplate()
    return few_shot_prompts(task, task.test[:7], template, n_shots=3, stream=seed_stream("held")).prompts


@pytest.fixture(scope="module")
def variants(demo: LensModel) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    alphas = torch.rand(5, *demo.grid.shape, generator=draw)
    return alphas, torch.randn(3, *demo.grid.shape, demo.identity.d_head, generator=draw)


@pytest.mark.parametrize("budget", [1, 400_000])
def test_a_small_budget_changes_no_answer(
    demo: LensModel, demo_tasks: dict[str, sl.Task], variants: tuple[torch.Tensor, torch.Tensor], budget: int
) -> None:
    prompts, (alphas, embeddings) = prompts_of(demo_tasks["antonym"]), variants
    whose = torch.tensor([0, 2, 1, 1, 0])
    whole, part = CachedQueries(demo, prompts), CachedQueries(demo, prompts, budget_bytes=budget)
    one, other = (held.answers(alphas, embeddings, whose) for held in (whole, part))
    assert torch.allclose(one.log_prob, other.log_prob, atol=1e-4)
    assert torch.equal(one.right, other.right)
    assert torch.allclose(whole.under([]).log_prob, part.under([]).log_prob, atol=1e-4)
    for expected, found in zip(whole.gradients(torch.exp), part.gradients(torch.exp), strict=True):
        assert torch.allclose(expected, found, atol=1e-4)


def test_with_a_small_budget_prefixes_in_memory_at_a_time_stay_under_it(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    prompts = prompts_of(demo_tasks["antonym"])
    whole = CachedQueries(demo, prompts)
    ((_, prefix),) = whole._prefixes()
    budget = prefix.n_bytes // 2
    sizes = [part.n_bytes for _, part in CachedQueries(demo, prompts, budget_bytes=budget)._prefixes()]
    assert len(sizes) >= 2
    assert max(sizes) <= budget


def test_every_prompt_may_mix_in_an_embedding_of_its_own(
    demo: LensModel, demo_tasks: dict[str, sl.Task], variants: tuple[torch.Tensor, torch.Tensor]
) -> None:
    prompts, (alphas, embeddings) = prompts_of(demo_tasks["antonym"]), variants
    whose = torch.tensor([[0, 1, 2, 0, 1, 2, 0], [2, 2, 2, 1, 1, 1, 0]])
    found = CachedQueries(demo, prompts, budget_bytes=400_000).answers(alphas[:2], embeddings, whose)
    for i, prompt in enumerate(prompts):
        alone = CachedQueries(demo, [prompt])
        for v in range(2):
            edits = injection(
                alphas[v][None],
                embeddings,
                whose[v, i][None],
                heads_per_layer=demo.grid.heads_per_layer,
                column=0,
            )
            assert alone.under(edits).log_prob[0, 0] == pytest.approx(float(found.log_prob[v, i]), abs=1e-4)
