"""Row 9: cost of a fit by fits, prompt length, prompts and layers, of a head path by prices, of a report by tasks."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, peak_bytes, seconds
from analysis.benchmarks.settings import Settings
from site_lens.models.base import LensModel

N_STEPS = 20


def measure(settings: Settings) -> list[Result]:
    """Time and memory of fits of 20 steps of batch 8 on small models, one thing varied at a time."""
    task = sl.load_tasks("demo", ["antonym"])["antonym"]
    model = sl.load_model("demo", device=settings.device)
    lines = []
    for n in (1, 4, 16, 64):
        lines += cost(model, task, f"number of fits: {n}", n_fits=n)
    for length in (16, 64, 256, 512):
        lines += cost(model, padded(model, task, length), f"tokens a prompt: {length}")
    for n in (8, 32, 128):
        lines += cost(model, replace(task, train=task.train[:n]), f"distinct prompts: {n}", n_steps=128 // 8)
    for n_layers in (2, 4, 8, 16):
        lines += cost(random_llama(n_layers, settings.device), task, f"layers: {n_layers}")
    for n in (1, 2, 4, 8):
        lines += path_cost(model, task, n)
    return lines + reports()


def cost(model: LensModel, task: sl.Task, what: str, *, n_fits: int = 4, n_steps: int = N_STEPS) -> list[Result]:
    """Time and most memory of a fit whose embedding is there."""
    embedding = sl.capture_embeddings(model, [task], n_prompts=2, n_shots=1)[task.name]
    config = sl.SiteConfig(n_steps=n_steps, eval_every=n_steps, n_valid=8, loss="first_token")

    def fit() -> None:
        sl.fit_site(model, [task], config, seeds=range(n_fits), embeddings={task.name: embedding}, progress=False)

    return time_and_memory(model, fit, "fit", what)


def time_and_memory(model: LensModel, work: Callable[[], None], name: str, what: str) -> list[Result]:
    """Time of some work, three times behind a warm-up, and its most memory."""
    work()
    times, memory = [seconds(work) for _ in range(3)], peak_bytes(work, model.device) / 2**20
    return [alone(9, f"{name}, {what}", "s", times), alone(9, f"{name}, peak memory, {what}", "MiB", [memory])]


def path_cost(model: LensModel, task: sl.Task, n_prices: int) -> list[Result]:
    """Time and most memory of a head path of one start, whose fit at price 0 is there; 20 steps at each price."""
    config = sl.SiteConfig(n_prompts=2, n_shots=1, n_steps=N_STEPS, eval_every=N_STEPS, n_valid=8, loss="first_token")
    fits = sl.fit_site(model, [task], config, progress=False)
    prices = [0.01 * (i + 1) / n_prices for i in range(n_prices)]

    def fit() -> None:
        sl.fit_path(
            model, [task], prices=prices, n_starts=1, n_price_steps=N_STEPS, contents=("task",), fits={"task": fits},
            progress=False,
        )  # fmt: skip

    return time_and_memory(model, fit, "head path", f"prices: {n_prices}")


def padded(model: LensModel, task: sl.Task, length: int) -> sl.Task:
    """The task with words before every input, so that its prompts have about `length` tokens."""
    plain = len(model.encoder.encode([f"Q: {task.train[0].input}\nA:"])[0])
    words = " ".join(["hot"] * max(0, length - plain))
    rows = tuple(replace(row, input=f"{words} {row.input}".strip()) for row in task.train)
    return replace(task, train=rows)


def random_llama(n_layers: int, device: str) -> LensModel:
    """A Llama as wide as the demo model."""
    import transformers

    from site_lens.records.assets import DEMO_MODEL

    config = transformers.AutoConfig.from_pretrained(DEMO_MODEL)
    config.num_hidden_layers = n_layers
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(config).float().save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(DEMO_MODEL).save_pretrained(folder)
        return sl.load_model(folder, device=device, dtype="float32")


def reports() -> list[Result]:
    """Time and size of the report of runs with more and more tasks."""
    model, lines = sl.load_model("demo", device="cpu"), []
    for n in (1, 16, 64):
        tasks = sl.sample_tasks(sl.load_tasks("demo").values(), n, seed=0)
        run = sl.fit_and_evaluate(model, tasks, sl.SiteConfig(n_steps=10), max_queries=10)
        with tempfile.TemporaryDirectory() as folder:
            write = partial(sl.write_report, run, Path(folder) / "report.html")
            times = [seconds(write) for _ in range(3)]
            size = (Path(folder) / "report.html").stat().st_size / 2**20
        lines += [alone(9, f"report, tasks: {n}", "s", times), alone(9, f"report, size, tasks: {n}", "MiB", [size])]
    return lines
