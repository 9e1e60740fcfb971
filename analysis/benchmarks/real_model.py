"""Row 11: SmolLM2, a real model: fits, the path of prices, ten-shot evaluation and the report, all by defaults."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, compare, interleaved, seconds
from analysis.benchmarks.published import PublishedLoop, asked, hugging_face, published_embedding
from analysis.benchmarks.settings import Settings
from site_lens.models.base import LensModel
from site_lens.models.gguf_conversion import converted
from site_lens.models.gguf_source import local_gguf
from site_lens.records.assets import SMOLLM2
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate

TASKS = ("antonym", "country-capital", "present-past", "singular-plural")
N_PROMPTS, N_SHOTS, N_STEPS = 50, 10, 400
"""Published settings."""
TIMED_PROMPTS, TIMED_STEPS = 5, 20
"""Prompts and steps of one task on which the published loop is timed; its time is counted up from them."""
N_QUERIES = 40
PAIRS = 2


def measure(settings: Settings) -> list[Result]:
    """Compare with the published loop, and with whole prompts one by one."""
    model = sl.load_model(SMOLLM2, device=settings.device, dtype="float32")
    return lines_of(model, plain_model(settings.device), SMOLLM2)


def plain_model(device: str) -> Any:
    """Return SmolLM2 as a plain Hugging Face module; `load_model` has converted it before."""
    import transformers

    gguf = local_gguf(SMOLLM2)
    assert gguf is not None
    plain = transformers.AutoModelForCausalLM.from_pretrained(converted(gguf, SMOLLM2), dtype=torch.float32)
    return plain.to(device).eval().requires_grad_(False)


def lines_of(model: LensModel, plain: Any, name: str, config: sl.SiteConfig | None = None) -> list[Result]:
    """Measure every line on a model, by defaults or other settings."""
    config = config or sl.SiteConfig()
    tasks = sl.load_tasks("demo", list(TASKS))
    first = tasks[TASKS[0]]
    embedding = torch.zeros(*model.grid.shape, model.identity.d_head, device=model.device)
    steps = asked(model, first.train[:TIMED_STEPS])
    made: dict[str, Any] = {}

    def published() -> float:
        shown = seconds(lambda: published_embedding(plain, model, first, n_prompts=TIMED_PROMPTS, n_shots=N_SHOTS))
        fitted = seconds(lambda: PublishedLoop(hugging_face(plain), embedding).fit(steps, []))
        return len(tasks) * (shown * N_PROMPTS / TIMED_PROMPTS + fitted * N_STEPS / len(steps))

    def dense() -> None:
        made["fits"] = sl.fit_site(model, tasks, config, progress=False)

    def control() -> None:  # gates alone, which every fit has beside it
        embeddings = {name: fit.embedding for name, fit in made["fits"].items()}
        zero = config.replace(embedding="zero")
        made["control"] = sl.fit_site(model, tasks, zero, embeddings=embeddings, progress=False)

    def path() -> None:
        made["paths"] = sl.fit_path(
            model, tasks, config, fits={"task": made["fits"], "zero": made["control"]}, progress=False
        )

    loops, fits, controlled, paths = ([] for _ in range(4))
    for _ in range(PAIRS):
        loops.append(published())
        fits.append(seconds(dense))
        controlled.append(fits[-1] + seconds(control))
        paths.append(seconds(path))
    one_by_one, together = interleaved(*evaluations(model, plain, first), n=PAIRS)
    evaluated = sl.evaluate(model, tasks, made["fits"], paths=made["paths"], max_queries=N_QUERIES, progress=False)
    run = sl.Run(fits=made["fits"], paths=made["paths"], evaluations=evaluated)
    with tempfile.TemporaryDirectory() as folder:
        written = [seconds(lambda: sl.write_report(run, Path(folder) / "report.html", replace=True)) for _ in range(3)]
    whole = [fit + further for fit, further in zip(controlled, paths, strict=True)]
    work = f"{len(tasks)} tasks, {name}"
    prompting = f"zero-shot and {N_SHOTS}-shot, {N_QUERIES} queries, {name}: whole prompts one by one / shared sets"
    return [
        compare(11, f"embeddings and fits of {work}, published loop timed on {len(steps)} steps", "s", loops, fits),
        alone(11, f"path from these fits and controls, {work}", "s", paths),
        compare(11, f"fits and controls / the same with their path, {work}", "s", controlled, whole, 0.5),
        compare(11, prompting, "s", one_by_one, together),
        alone(11, f"report of {work}", "s", written),
    ]


def evaluations(model: LensModel, plain: Any, task: sl.Task) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return two ways to measure zero-shot and few-shot prompting: prompt by prompt as published, and ours."""
    rows, template = task.test[:N_QUERIES], PromptTemplate()
    stream = seed_stream(0, task.digest, "bench")
    shown = few_shot_prompts(task, rows, template, n_shots=N_SHOTS, stream=stream).prompts
    texts = [prompt.text for prompt in (*zero_shot_prompts(rows, template), *shown)]
    prompts = model.encoder.encode(texts)

    @torch.no_grad()
    def one_by_one() -> None:
        for ids in prompts:
            plain(torch.tensor([ids], device=model.device), use_cache=False, logits_to_keep=1).logits.argmax(-1)

    def together() -> None:
        sl.evaluate(model, [task], n_shots=N_SHOTS, n_sets=10, max_queries=N_QUERIES, progress=False)

    return one_by_one, together
