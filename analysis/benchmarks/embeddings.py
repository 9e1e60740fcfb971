"""Row 4: task embeddings of sixteen tasks in batches, against prompt by prompt."""

import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, interleaved
from analysis.benchmarks.published import mean_z
from analysis.benchmarks.settings import Settings
from site_lens.core.digests import seed_stream
from site_lens.core.prompts import PromptTemplate
from site_lens.core.sampling import embedding_prompts

N_TASKS, N_PROMPTS, N_SHOTS = 16, 50, 10


def measure(settings: Settings) -> list[Result]:
    """Compare wall time on the demo model."""
    import transformers

    from site_lens.core.assets import DEMO_MODEL

    model = sl.load_model("demo", device=settings.device)
    plain = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32).to(settings.device)
    plain.eval().requires_grad_(False)
    tasks = list(sl.sample_tasks(sl.load_tasks("demo").values(), N_TASKS, seed=0).values())

    def one_by_one() -> None:
        for task in tasks:
            stream = seed_stream(0, task.digest, "embedding", N_SHOTS)
            drawn = embedding_prompts(task, PromptTemplate(), n_prompts=N_PROMPTS, n_shots=N_SHOTS, stream=stream)
            mean_z(plain, model.encoder.encode([prompt.text for prompt in drawn.prompts]), model)

    rival, ours = interleaved(
        one_by_one,
        lambda: sl.capture_embeddings(model, tasks, n_prompts=N_PROMPTS, n_shots=N_SHOTS),
        n=settings.pairs,
    )
    return [compare(4, f"embeddings of {N_TASKS} demo tasks, M={N_PROMPTS}, N={N_SHOTS}", "s", rival, ours, 2.0)]
