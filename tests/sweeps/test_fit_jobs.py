"""Computation of jobs: fits of the demo model out of a sweep."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.sweeps import fit_jobs
from site_lens.sweeps.fit_jobs import FitJobs
from site_lens.sweeps.jobs import JobGroup, jobs_of
from site_lens.sweeps.worker import Worker

SWEEP = sl.Sweep(
    models=["demo"],
    tasks=[{"source": "demo", "names": ["antonym", "english-french"]}],
    configs=[{"name": "few", "n_steps": 5, "n_prompts": 4, "n_shots": 3, "n_valid": 6, "eval_every": 5}],
    seeds=[0, 1],
    evaluation={"n_shots": 3, "max_queries": 6},
)
CPU = FitJobs(device="cpu", progress=False)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all results of the sweep."""
    folder = tmp_path_factory.mktemp("sweep") / "store"
    assert sl.run_sweep(SWEEP, folder, worker=Worker(folder, CPU)).ok
    return folder


def assert_same(run: sl.Run, expected: sl.Run) -> None:
    assert set(run.fits) == set(expected.fits)
    for name, fit in expected.fits.items():
        np.testing.assert_allclose(run.fits[name].gates.values, fit.gates.values, atol=1e-4)
    assert run.evaluations is not None and expected.evaluations is not None
    for name, evaluation in expected.evaluations.items():
        assert set(run.evaluations[name].methods) == set(evaluation.methods)
        for method in evaluation.methods:
            assert run.evaluations[name].accuracy(method) == evaluation.accuracy(method)


def test_a_sweep_gives_the_run_that_one_call_gives_and_a_job_alone_the_same(filled: Path) -> None:
    expected = sl.fit_and_evaluate(
        sl.load_model("demo", device="cpu"),
        sl.load_tasks("demo", ["antonym", "english-french"]),
        SWEEP.configs[0].config,
        seeds=[0, 1],
        prices=(),
        n_eval_shots=3,
        max_queries=6,
    )
    assert_same(sl.RunStore(filled).runs()["demo/paper/few"], expected)
    job = jobs_of(SWEEP)[3]
    (alone,) = CPU(JobGroup((job,)), 2**31).values()
    assert_same(alone, sl.RunStore(filled).load(job.key))


def test_a_model_is_loaded_as_the_sweep_says_and_does_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, object] = {}

    def load(name: str, **options: object) -> object:
        loaded.update(options, name=name)
        return lambda: "what cannot be pickled"

    monkeypatch.setattr(fit_jobs, "load_model", load)
    choice = {"name": "nobody/a", "dtype": "bfloat16", "quantization": "nf4", "device_map": "auto", "revision": "v1"}
    job = jobs_of(SWEEP.replace(models=[choice]))[0]
    compute = FitJobs(device="cpu")
    compute.prepare(job)
    # A map says where weights go; a device would say so, too.
    assert loaded == choice | {"bos": None, "device": None, "gguf_file": None}
    assert isinstance(pickle.loads(pickle.dumps(compute)), FitJobs)
    for change, same_key in (({"device_map": None}, True), ({"quantization": None}, False)):
        assert (jobs_of(SWEEP.replace(models=[choice | change]))[0].key == job.key) is same_key
