"""The real thing: fits of the demo model out of a sweep."""

from pathlib import Path

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.runs import pipeline as study
from site_lens.site.fitting import fit_variants
from site_lens.sweeps import fit_jobs
from site_lens.sweeps.fit_jobs import FitJobs
from site_lens.sweeps.jobs import JobGroup, jobs_of
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker

SWEEP = sl.Sweep(
    models=["demo"],
    tasks=[{"source": "demo", "names": ["antonym", "english-french"]}],
    configs=[{"name": "few", "n_steps": 5, "n_prompts": 4, "n_shots": 3, "n_valid": 6, "eval_every": 5}],
    seeds=[0, 1],
    evaluation={"n_shots": 3, "max_queries": 6},
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all results of the sweep."""
    folder = tmp_path_factory.mktemp("sweep") / "store"
    assert sl.run_sweep(SWEEP, folder, worker=Worker(folder, FitJobs(device="cpu", progress=False))).ok
    return folder


def test_a_sweep_gives_the_run_that_one_call_gives(filled: Path) -> None:
    task_set = sl.load_tasks("demo", ["antonym", "english-french"])
    config = SWEEP.configs[0].config
    model = sl.load_model("demo", device="cpu")
    expected = sl.fit_and_evaluate(model, task_set, config, seeds=[0, 1], n_eval_shots=3, max_queries=6)
    found = sl.RunStore(filled).runs()["demo/paper/few"]
    assert set(found.fits) == set(expected.fits)
    for name, fit in expected.fits.items():
        assert np.abs(found.fits[name].gates.values - fit.gates.values).max() < 1e-4
        assert found.fits[name].labelled_rows == fit.labelled_rows
    assert found.evaluations is not None and expected.evaluations is not None
    for name, evaluation in expected.evaluations.items():
        own = found.evaluations[name]
        assert set(own.methods) == set(evaluation.methods)
        for method in evaluation.methods:
            assert own.accuracy(method) == evaluation.accuracy(method)
    assert sl.diagnose(found).findings


def test_a_group_of_one_gives_what_it_gives_in_company(filled: Path) -> None:
    job = jobs_of(SWEEP)[3]
    (alone,) = FitJobs(device="cpu", progress=False)(JobGroup.of([job]), 2**31).values()
    kept = sl.RunStore(filled).load(job.key)
    assert np.abs(alone.fits[job.task.name].gates.values - kept.fits[job.task.name].gates.values).max() < 1e-4
    assert alone.evaluations is not None and kept.evaluations is not None
    assert alone.evaluations[job.task.name].methods == kept.evaluations[job.task.name].methods


def test_the_loop_runs_out_of_memory_and_goes_on_with_half(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets, fit = [], fit_variants

    def hungry(model: object, variants: dict[str, list[object]], *, budget_bytes: int, **options: object) -> object:
        budgets.append((len(variants["site"]), budget_bytes))
        if len(variants["site"]) > 2:  # as if there were room for one task with two seeds
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return fit(model, variants, budget_bytes=budget_bytes, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "fit_variants", hungry)
    found = sl.run_sweep(SWEEP, store.folder, worker=Worker(store.folder, FitJobs(device="cpu", progress=False)))
    assert (found.ok, len(found.stored)) == (True, 4)
    assert budgets == [(4, 2**31), (2, 2**30), (2, 2**30)]
    run = store.runs()["demo/paper/few"]
    assert {fit.notes[-1] for fit in run.fits.values()} == {
        "memory ran out once; computed with 1 tasks in the batch and 1024 MiB of prefixes at a time"
    }


def test_a_model_that_is_not_there_fails_every_job_and_says_why(store: RunStore) -> None:
    sweep = SWEEP.replace(models=["./nowhere"])
    found = sl.run_sweep(sweep, store.folder, worker=Worker(store.folder, FitJobs(device="cpu")))
    assert len(found.failed) == 4
    assert all("there is no model folder ./nowhere" in message for message in found.failed.values())


def test_a_model_is_loaded_as_the_sweep_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def load(name: str, **options: object) -> object:
        asked.update(options, name=name)
        return object()

    monkeypatch.setattr(fit_jobs, "load_model", load)
    choice = {"name": "nobody/a", "dtype": "bfloat16", "quantization": "nf4", "device_map": "auto", "revision": "v1"}
    job = jobs_of(SWEEP.replace(models=[choice]))[0]
    FitJobs(device="cpu").prepare(job)
    assert asked == choice | {"bos": None, "device": None}  # a map says where weights go; a device would say so, too
    plain = jobs_of(SWEEP.replace(models=[choice | {"device_map": None}]))[0]
    assert plain.key == job.key
    other = jobs_of(SWEEP.replace(models=[choice | {"quantization": None}]))[0]
    assert other.key != job.key


def test_the_model_does_not_travel(filled: Path) -> None:
    import pickle

    compute = FitJobs(device="cpu", progress=False)
    compute._held = ("key", object())  # type: ignore[assignment]  # stands for a model
    assert pickle.loads(pickle.dumps(compute))._held is None
