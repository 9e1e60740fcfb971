"""What a dry run says a sweep would take."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.sweeps.cost_estimate import estimate_cost, prompt_tokens, step_tokens
from site_lens.sweeps.jobs import jobs_of
from site_lens.sweeps.store import RunStore
from site_lens.tasks.prompt_sampling import few_shot_prompts
from tests.sweeps.faulty import made_up, small_sweep


def test_steps_are_counted_exactly(tmp_path: Path) -> None:
    (job,) = jobs_of(small_sweep(tmp_path, 1, controls=["site_zero_embedding", "site_shuffled_answers"]))
    assert step_tokens(job) == 2 * 8 * 3  # steps, batch, the fit and two controls


def test_the_guess_of_prompt_tokens_is_near_the_truth(demo: LensModel) -> None:
    (job,) = jobs_of(sl.Sweep(models=["demo"], tasks=[{"source": "demo", "names": ["english-french"]}], controls=[]))
    config, task = job.config.config, job.task
    shots = few_shot_prompts(task, task.test, sl.PromptTemplate(), n_shots=10, stream=seed_stream(0)).prompts
    n_ten_shot = sum(map(len, demo.encoder.encode([prompt.text for prompt in shots]))) / len(shots)
    n_zero_shot = n_ten_shot / 11
    asked = len(task.train) + min(config.n_valid, len(task.valid)) + len(task.test)
    truth = n_ten_shot * (config.n_prompts + len(task.test)) + n_zero_shot * asked
    assert 0.5 < prompt_tokens(job) / truth < 2


def test_a_result_that_says_strange_things_of_its_settings_tells_no_time_of_others(
    tmp_path: Path, store: RunStore
) -> None:
    (job,) = jobs_of(small_sweep(tmp_path, 1))
    strange = job.parts | {"config": "none"}
    name = job.name.replace(key=digest_json(strange))
    store.commit(name, strange, made_up(job), seconds=1.0)
    (cost,) = estimate_cost([job], store)
    assert (cost.n_stored, cost.seconds) == (0, None)


def test_time_is_told_once_such_jobs_were_timed(tmp_path: Path, store: RunStore) -> None:
    sweep = small_sweep(tmp_path, 3, n_seeds=2, models=("nobody/a", "nobody/b"))
    jobs = jobs_of(sweep)
    assert [(one.n_jobs, one.n_stored, one.seconds) for one in estimate_cost(jobs, None)] == [(6, 0, None)] * 2
    for job, seconds in zip(jobs[:3], (1.0, 2.0, 9.0), strict=True):
        store.commit(job.name, job.parts, made_up(job), seconds=seconds)
    timed, untimed = estimate_cost(jobs, store)
    assert (timed.model, timed.n_stored) == ("a", 3)
    assert timed.seconds == pytest.approx(3 * 2.0)
    assert (untimed.model, untimed.n_stored, untimed.seconds) == ("b", 0, None)
    assert timed.step_tokens == 3 * step_tokens(jobs[0])
