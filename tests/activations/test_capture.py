"""Capture of task embeddings: mean and spread over exactly the prompts of a task."""

import numpy as np

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import embedding_prompts


def test_mean_and_spread_are_those_of_the_single_prompts(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    task = demo_tasks["choose_last_of_3"]
    embedding = sl.capture_embeddings(demo, [task], n_prompts=7, n_shots=2, seed=3)[task.name]
    stream = seed_stream(3, task.digest, "embedding", 2)
    prompts = embedding_prompts(task, sl.PromptTemplate(), n_prompts=7, n_shots=2, stream=stream)
    batches = [Batch.of(demo.encoder.encode([prompt.text]), pad=0, device=demo.device) for prompt in prompts.prompts]
    z = np.concatenate([demo.last_z(batch).numpy() for batch in batches])
    assert np.abs(embedding.mean - z.mean(0)).max() < 1e-5
    assert np.abs(embedding.spread - z.std(0, ddof=1)).max() < 1e-5
    assert embedding.labelled_rows == tuple(sorted(prompts.labelled_rows))


def test_an_embedding_depends_on_task_and_seed_only(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    together = sl.capture_embeddings(demo, demo_tasks.values(), n_prompts=5, n_shots=3)
    for name, task in demo_tasks.items():
        for alone in (task, [task], {name: task}):
            assert sl.capture_embeddings(demo, alone, n_prompts=5, n_shots=3)[name] == together[name]
    task = demo_tasks["antonym"]
    other = sl.capture_embeddings(demo, task, n_prompts=5, n_shots=3, seed=1)["antonym"]
    assert other.labelled_rows != together["antonym"].labelled_rows
    assert not sl.capture_embeddings(demo, task, n_prompts=1, n_shots=2)["antonym"].spread.any()
