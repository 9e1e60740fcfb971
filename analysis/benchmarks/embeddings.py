"""Row 4: task embeddings of sixteen tasks in batches, against prompt by prompt."""

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, interleaved
from analysis.benchmarks.published import published_embedding
from analysis.benchmarks.settings import Settings
from analysis.benchmarks.subjects import demo_subjects

N_TASKS, N_PROMPTS, N_SHOTS = 16, 50, 10


def measure(settings: Settings) -> list[Result]:
    """Compare wall time on the demo model."""
    tasks, model, plain = demo_subjects(N_TASKS, device=settings.device)

    def one_by_one() -> None:
        for task in tasks:
            published_embedding(plain, model, task, n_prompts=N_PROMPTS, n_shots=N_SHOTS)

    rival, ours = interleaved(
        one_by_one,
        lambda: sl.capture_embeddings(model, tasks, n_prompts=N_PROMPTS, n_shots=N_SHOTS),
        n=settings.pairs,
    )
    return [compare(4, f"embeddings of {N_TASKS} demo tasks, M={N_PROMPTS}, N={N_SHOTS}", "s", rival, ours, 2.0)]
