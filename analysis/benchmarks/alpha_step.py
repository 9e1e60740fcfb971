"""Row 1: what one optimisation step of alpha costs, against the published loop."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

import site_lens as sl
from analysis.benchmarks.measuring import Result, compare, interleaved
from analysis.benchmarks.published import LogitsOf, PublishedLoop, Query, asked, hugging_face, transformer_lens
from analysis.benchmarks.settings import Settings
from site_lens.models.protocol import LensModel
from site_lens.selectors.site_loop import SiteLoop
from site_lens.selectors.site_plan import make_plan

N_FITS = 16


def steps_of(model: LensModel, task: sl.Task, embedding: sl.TaskEmbedding, *, n_fits: int, n: int) -> Iterator[None]:
    """Joint fits of batch 1 with nothing left to do but their steps: prefixes are there, nothing is validated."""
    jobs = [
        sl.SiteJob(task, sl.SiteConfig(n_steps=n, batch_size=1, eval_every=10 * n, seed=seed), embedding)
        for seed in range(n_fits)
    ]
    loop = SiteLoop(model, make_plan(model, jobs), budget_bytes=4 * 2**30)
    for done in loop.passes():
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
    batched = iter(batched_steps(ways["hugging face"], mean, queries, model.encoder.pad, n))
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
        compare(1, f"one alpha step, batch 1, {what}", "s", fastest, single, 5.0),
        compare(1, f"one alpha step per fit, {N_FITS} fits in the batch, {what}", "s", fastest, per_fit, 20.0),
        compare(1, "the same with whole sequences in a batch of 16 (what batching alone gives)", "s",
                fastest, [time / N_FITS for time in full]),
        compare(1, "the two ways to write the published loop: run_with_hooks against Hugging Face", "s",
                published[1], published[0]),
    ]  # fmt: skip


def batched_steps(logits_of: LogitsOf, mean: torch.Tensor, queries: list[Query], pad: int, n: int) -> Iterator[None]:
    """Steps of 16 fits over whole sequences, padded on the right so that a plain causal model needs no mask."""
    raw = torch.zeros((N_FITS, *mean.shape[:2]), device=mean.device, requires_grad=True)
    adam = torch.optim.Adam([raw], lr=0.2)
    chosen = [queries[i % len(queries)] for i in range(N_FITS)]
    width = min(len(ids) for ids, _ in chosen)  # cut to one length: the time of a step is all that is asked
    tokens = torch.tensor([ids[-width:] for ids, _ in chosen], device=mean.device)
    targets = torch.tensor([answer for _, answer in chosen], device=mean.device)
    embeddings = mean.expand(N_FITS, *mean.shape)
    for _ in range(4 * n):
        adam.zero_grad(set_to_none=True)
        F.cross_entropy(logits_of(tokens, torch.sigmoid(raw), embeddings), targets, reduction="sum").backward()
        adam.step()
        yield
