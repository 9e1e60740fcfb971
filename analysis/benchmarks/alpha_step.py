"""Row 1: what one optimisation step of alpha costs, against the published loop."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, interleaved
from analysis.benchmarks.published import LogitsOf, PublishedLoop, Query, asked, hugging_face, transformer_lens
from analysis.benchmarks.settings import Settings
from site_lens.models.base import LensModel
from site_lens.site.optimizer import JointOptimizer
from site_lens.site.plan import make_plan

N_FITS = 16


def steps_of(model: LensModel, task: sl.Task, embedding: sl.TaskEmbedding, *, n_fits: int, n: int) -> Iterator[None]:
    """Joint fits of batch 1 with nothing left to do but their steps: prefixes are there, nothing is validated."""
    jobs = [
        sl.SiteJob(
            task, sl.SiteConfig(n_steps=n, batch_size=1, loss="first_token", eval_every=10 * n, seed=seed), embedding
        )
        for seed in range(n_fits)
    ]
    loop = JointOptimizer(model, make_plan(model, jobs), budget_bytes=4 * 2**30)
    for done in loop.steps():
        if done.training:
            yield


def measure(settings: Settings) -> list[Result]:
    """Compare one step of one fit, and one step of 16 fits."""
    task, model, plain = settings.subjects
    n = settings.pairs + 2
    embedding = sl.capture_embeddings(model, [task], n_prompts=4, n_shots=2)[task.name]
    mean = torch.tensor(embedding.mean, device=model.device)
    queries = asked(model, task.train[:n])
    ways = {"hugging face": hugging_face(plain), "run_with_hooks": transformer_lens(model.host)}
    loops = {name: (PublishedLoop(way, mean), iter(queries * 2)) for name, way in ways.items()}
    rivals = [lambda loop=loop, q=q: loop.step(next(q)) for loop, q in loops.values()]
    median = sorted(queries, key=lambda query: len(query[0]))[len(queries) // 2]
    batched = batched_steps(ways["hugging face"], mean, median)
    one = steps_of(model, task, embedding, n_fits=1, n=n)
    many = steps_of(model, task, embedding, n_fits=N_FITS, n=n)
    next(one), next(many)  # computes the prefixes
    sides = [*rivals, lambda: next(batched), lambda: next(one), lambda: next(many)]
    *published, full, single, joint = interleaved(*sides, n=settings.pairs)
    fastest = min(published, key=sum)
    per_fit = [time / N_FITS for time in joint]
    length = sum(len(ids) for ids, _ in queries) / len(queries)
    what = f"{settings.size} Llama, {length:.0f} tokens a prompt"
    return [
        compare(1, f"one alpha step, batch 1, prefix computed before, {what}", "s", fastest, single, 5.0),
        compare(1, f"one alpha step per fit, {N_FITS} fits in the batch, prefixes computed before, {what}", "s",
                fastest, per_fit, 20.0),
        compare(1, f"the same with whole sequences in a batch of {N_FITS} (what batching alone gives)", "s",
                fastest, [time / N_FITS for time in full]),
        compare(1, "the two ways to write the published loop: run_with_hooks against Hugging Face", "s",
                published[1], published[0]),
    ]  # fmt: skip


def batched_steps(logits_of: LogitsOf, mean: torch.Tensor, query: Query) -> Iterator[None]:
    """Steps of 16 fits over whole sequences, without end; all rows ask one query, so that none is padded."""
    raw = torch.zeros((N_FITS, *mean.shape[:2]), device=mean.device, requires_grad=True)
    adam = torch.optim.Adam([raw], lr=0.2)
    tokens = torch.tensor([query[0]] * N_FITS, device=mean.device)
    targets = torch.tensor([query[1]] * N_FITS, device=mean.device)
    embeddings = mean.expand(N_FITS, *mean.shape)
    while True:
        adam.zero_grad(set_to_none=True)
        logits = logits_of(tokens, torch.sigmoid(raw), embeddings)
        torch.autograd.backward(F.cross_entropy(logits, targets, reduction="sum"))
        adam.step()
        yield
