"""The fast path gives what the paper's plain loop gives."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.site.plan import make_plan
from site_lens.tasks.prompt_sampling import embedding_prompts
from tests.conftest import Models, Tasks
from tests.oracle import published_loop

PUBLISHED = sl.SiteConfig.paper(n_steps=50, n_prompts=8, n_shots=4, n_valid=5)


def plain_alphas(model: LensModel, task: sl.Task, embedding: sl.TaskEmbedding, config: sl.SiteConfig) -> np.ndarray:
    """Run the plain loop on the very queries, in the very order, that the joint loop draws."""
    plan = make_plan(model, [sl.SiteJob(task, config, embedding)])
    order = plan.alpha_maps[0].train.questions[:, 0]
    queries = [(plan.questions.prompts[plan.questions.prompt_of[q]], plan.questions.answers[q][0]) for q in order]
    return published_loop.fit(model.host, queries, torch.tensor(embedding.mean), lr=config.lr).numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "gemma2"])
def test_alphas_agree_on_other_architectures(tiny: Models, demo_tasks: Tasks, kind: str) -> None:
    model, task = tiny(kind), demo_tasks["antonym"]
    # A random model learns little: a longer way to go, so that alphas really move away from 0.5.
    fit = sl.fit_site(model, task, PUBLISHED)["antonym"]
    expected = plain_alphas(model, task, fit.embedding, PUBLISHED)
    assert np.abs(expected - 0.5).max() > 0.1
    assert np.abs(fit.gates.values - expected).max() < 1e-4


def test_alphas_of_the_demo_model_agree_in_a_joint_batch_and_alone_after_50_steps(
    demo: LensModel, demo_tasks: Tasks
) -> None:
    fits, alone = sl.fit_site(demo, demo_tasks, PUBLISHED), sl.fit_site(demo, demo_tasks["antonym"], PUBLISHED)
    for name, task in demo_tasks.items():
        expected = plain_alphas(demo, task, fits[name].embedding, PUBLISHED)
        for fit in (fits[name], *alone.of(name)):
            assert np.abs(fit.gates.values - expected).max() < 1e-4, name


def test_the_task_embedding_is_the_mean_of_single_prompts(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["english-french"]
    captured = sl.capture_embeddings(demo, [task], n_prompts=6, n_shots=3, seed=5)[task.name]
    stream = seed_stream(5, task.digest, "embedding", 3)
    prompts = embedding_prompts(task, sl.PromptTemplate(), n_prompts=6, n_shots=3, stream=stream).prompts
    ids = demo.encoder.encode([prompt.text for prompt in prompts])
    expected = published_loop.task_embedding(demo.host, ids).numpy()
    assert np.abs(captured.mean - expected).max() < 1e-5
    z = np.concatenate([demo.last_z(Batch.of([row], pad=0, device=demo.device)).numpy() for row in ids])
    assert np.abs(captured.spread - z.std(0, ddof=1)).max() < 1e-5


def test_accuracy_under_injection_is_that_of_plain_hooks(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["country-capital"]
    fits = sl.fit_site(demo, task, sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4))
    measured = sl.evaluate(demo, task, fits, n_shots=4, max_queries=20)[task.name]
    gates, embedding = fits[task.name].gates, torch.tensor(fits[task.name].embedding.mean)
    for i, row in enumerate(measured.query_rows or ()):
        query = task.test[row]
        prompt = sl.PromptTemplate().render([], query)
        ids = demo.encoder.encode([prompt.text])[0]
        target = demo.encoder.encode_answers([prompt.text], [prompt.answer])[1][0][0]
        logits = published_loop.injected_logits(demo.host, ids, torch.tensor(gates.values), embedding)
        place = measured.methods.index("site")
        assert measured.log_prob[place, i] == pytest.approx(float(logits.log_softmax(-1)[target]), abs=1e-4)
        assert measured.first_token[place, i] == float(logits.argmax() == target)
        assert measured.rank[place, i] == float((logits >= logits[target]).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["antonym", "country-capital", "choose_last_of_3"])
def test_all_400_published_steps_end_at_the_same_alphas_as_the_published_loop(
    demo: LensModel, demo_tasks: Tasks, name: str
) -> None:
    config = sl.SiteConfig.paper(n_prompts=8, n_shots=4)
    fit = sl.fit_site(demo, demo_tasks[name], config)[name]
    expected = plain_alphas(demo, demo_tasks[name], fit.embedding, config)
    # Eight times as many steps as above: rounding has grown, and alphas near 0 and 1 hide none of it.
    assert np.abs(fit.gates.values - expected).max() < 1e-3
