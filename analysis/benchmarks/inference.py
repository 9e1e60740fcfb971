"""Row 7: what answering costs under injection, against plain zero-shot and against demonstrations."""

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, interleaved, peak_bytes
from analysis.benchmarks.settings import Settings
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate

N_QUERIES, N_SHOTS = 256, 10
N_FEW_SHOT = 8
"""Queries on which 10-shot prompting is timed: its prompts are ten times as long."""
PAIRS = 2


def measure(settings: Settings) -> list[Result]:
    """Compare time and peak memory of the first answer token."""
    task, model, _ = settings.subjects
    rows = (task.test * (N_QUERIES // len(task.test) + 1))[:N_QUERIES]
    template = PromptTemplate()
    zero = [prompt.text for prompt in zero_shot_prompts(rows, template)]
    stream = seed_stream(0, task.digest, "bench")
    few = few_shot_prompts(task, rows[:N_FEW_SHOT], template, n_shots=N_SHOTS, stream=stream)
    shots = [prompt.text for prompt in few.prompts]
    embedding = sl.capture_embeddings(model, [task], n_prompts=4, n_shots=2)[task.name]
    edits = sl.injection_edits(model, sl.HeadGates.constant(model.grid, 0.5), embedding)

    def plain() -> None:
        sl.generate(model, zero, max_new_tokens=1)

    def injected() -> None:
        sl.generate(model, zero, edits, max_new_tokens=1)

    def plain_few() -> None:
        sl.generate(model, zero[:N_FEW_SHOT], max_new_tokens=1)

    def injected_few() -> None:
        sl.generate(model, zero[:N_FEW_SHOT], edits, max_new_tokens=1)

    def shown() -> None:
        sl.generate(model, shots, max_new_tokens=1)

    times = interleaved(plain, injected, shown, n=PAIRS)
    counts = (N_QUERIES, N_QUERIES, N_FEW_SHOT)
    per_query = [[time / count for time in side] for side, count in zip(times, counts, strict=True)]
    peaks = [[peak_bytes(call, model.device) / 2**20] for call in (plain_few, injected_few, shown)]
    plain_shot, few_shot = f"zero-shot / injection, {settings.size} Llama", f"{N_SHOTS}-shot / injection"
    return [
        compare(7, f"a query, {plain_shot}, {N_QUERIES} queries", "s", per_query[0], per_query[1], 1 / 1.1),
        compare(7, f"a query, {few_shot}, {N_FEW_SHOT} queries", "s", per_query[2], per_query[1]),
        compare(7, f"peak memory, {plain_shot}, {N_FEW_SHOT} queries", "MiB", peaks[0], peaks[1], 1 / 1.1),
        compare(7, f"peak memory, {few_shot}, {N_FEW_SHOT} queries", "MiB", peaks[2], peaks[1]),
    ]
