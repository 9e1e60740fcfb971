"""Row 12: a GPU: the main job on a Llama of 8 billion random weights, and training steps as CUDA graphs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import site_lens as sl
from analysis.benchmarks.alpha_step import steps_of
from analysis.benchmarks.measuring import Result, alone, compare, interleaved, seconds
from analysis.benchmarks.settings import Settings
from analysis.benchmarks.subjects import ag_news, save_llama
from site_lens.models.base import LensModel

SIZE = "8B"
TARGET = 180.0
"""Seconds that the main job on 57 tasks may take."""
N_FITS = 16


def measure(settings: Settings) -> list[Result]:
    """Measure on a GPU; no line elsewhere."""
    if not settings.device.startswith("cuda"):
        return []
    tasks = sl.load_tasks(settings.ag_news)
    with tempfile.TemporaryDirectory() as saved:
        save_llama(ag_news(settings.ag_news), Path(saved), size=SIZE, dtype="bfloat16")
        model = sl.load_model(saved, device=settings.device, dtype="bfloat16")
    return [*whole_job(model, tasks, f"{SIZE} Llama of random weights"), *graphs(model, tasks, n=settings.pairs)]


def whole_job(
    model: LensModel, tasks: Mapping[str, sl.Task], what: str, config: sl.SiteConfig | None = None
) -> list[Result]:
    """Time embeddings, path and evaluation of all tasks, by the defaults of a model of that size or other settings."""

    def job() -> None:
        paths = sl.fit_path(model, tasks, config, contents=("task",), progress=False)
        sl.evaluate(model, tasks, paths=paths, progress=False)

    return [alone(12, f"embeddings, path and evaluation of {len(tasks)} tasks, {what}", "s", [seconds(job)], TARGET)]


def graphs(model: LensModel, tasks: Mapping[str, sl.Task], *, n: int) -> list[Result]:
    """Compare a training step of several fits without and with CUDA graphs."""
    task = tasks["ag_news"]
    embedding = sl.capture_embeddings(model, [task], n_prompts=4, n_shots=2)[task.name]
    sides = []
    for wanted in (False, True):
        model.cuda_graphs = wanted
        steps = steps_of(model, task, embedding, n_fits=N_FITS, n=4 * n + 10)
        for _ in range(2 * n):  # computes the prefixes, and records the shapes that come up
            next(steps)
        sides.append(lambda steps=steps: next(steps))
    plain, graphed = interleaved(*sides, n=n)
    model.cuda_graphs = False
    return [compare(12, f"one alpha step of {N_FITS} fits, without / with CUDA graphs", "s", plain, graphed)]
