"""Capture of task embeddings: mean and spread over exactly the prompts of a task."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from tests.conftest import Tasks


def test_an_embedding_depends_on_task_and_seed_only(demo: sl.LensModel, demo_tasks: Tasks) -> None:
    together = sl.capture_embeddings(demo, demo_tasks.values(), n_prompts=5, n_shots=3)
    for name, task in demo_tasks.items():
        for alone in (task, [task], {name: task}):
            assert sl.capture_embeddings(demo, alone, n_prompts=5, n_shots=3)[name] == together[name]
    task = demo_tasks["antonym"]
    other = sl.capture_embeddings(demo, task, n_prompts=5, n_shots=3, seed=1)["antonym"]
    assert other.labelled_rows != together["antonym"].labelled_rows
    assert not sl.capture_embeddings(demo, task, n_prompts=1, n_shots=2)["antonym"].spread.any()


def test_an_instruction_stands_before_the_prompts_of_an_embedding_and_not_before_queries(
    demo: sl.LensModel, demo_tasks: Tasks, tmp_path: Path
) -> None:
    task = demo_tasks["antonym"]
    said = {"antonym": "Say the opposite.\n"}
    instructed = sl.capture_embeddings(demo, task, n_prompts=6, n_shots=0, instructions=said)["antonym"]
    template = sl.PromptTemplate(instruction=said["antonym"])
    same = sl.capture_embeddings(demo, task, n_prompts=6, n_shots=0, template=template)["antonym"]
    assert np.array_equal(instructed.mean, same.mean)
    assert instructed.labelled_rows == ()
    assert (instructed.template, same.template) == (sl.PromptTemplate(), template)
    assert instructed.prompts(task) == same.prompts(task)
    assert all(prompt.text.startswith("Say the opposite.\nQ: ") for prompt in instructed.prompts(task))
    sl.save(instructed, tmp_path / "instructed")
    assert sl.load(tmp_path / "instructed") == instructed
    without = sl.capture_embeddings(demo, task, n_prompts=6, n_shots=0)["antonym"]
    assert "instruction" not in without.model_dump() and without.prompts(task) != instructed.prompts(task)
    with pytest.raises(sl.InputError):
        sl.capture_embeddings(demo, demo_tasks, n_prompts=2, n_shots=0, instructions=said)


def test_a_fit_asks_bare_queries_under_the_embedding_of_an_instruction(demo: sl.LensModel, demo_tasks: Tasks) -> None:
    task = {"antonym": demo_tasks["antonym"]}
    said = {"antonym": "Say the opposite.\n"}
    embeddings = sl.capture_embeddings(demo, task, n_prompts=4, n_shots=0, instructions=said)
    fits = sl.fit_site(demo, task, sl.SiteConfig(n_steps=2), embeddings=embeddings)
    assert fits["antonym"].template == sl.PromptTemplate()
    evaluation = sl.evaluate(demo, task, fits, max_queries=4)["antonym"]
    assert evaluation.template == sl.PromptTemplate() and not evaluation.prompt.startswith("Say")
