"""Row 5: a transfer matrix over shared prefixes, against cell by cell over whole prompts in batches."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, compare, seconds
from analysis.benchmarks.prompt_pool import variant
from analysis.benchmarks.published import LogitsOf, Query, asked, hugging_face
from analysis.benchmarks.settings import Settings
from analysis.benchmarks.subjects import demo_subjects
from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.prefill import length_batches
from site_lens.models.base import LensModel
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate

N_TASKS, N_QUERIES, PAIRS = 12, 96, 2
N_TIMED = 4
"""Cells of the larger model that the rival is timed on; all cost alike, and 144 of them take a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Alphas of every source with the embedding of every target, as both sides measure it."""

    model: LensModel
    logits_of: LogitsOf
    tasks: Sequence[sl.Task]
    alphas: Tensor
    """(task layer head)."""
    means: Tensor
    """(task layer head d_head)."""

    def ours(self) -> np.ndarray:
        """(target source): accuracies, the cells of a target over one prefix a query."""
        rows = []
        for target, task in enumerate(self.tasks):
            held = CachedQueries(self.model, zero_shot_prompts(task.test[:N_QUERIES], PromptTemplate()))
            found = held.answers(self.alphas, self.means[target][None])
            rows.append(found.right.float().mean(1).cpu().numpy())
        return np.stack(rows)

    def cell(self, target: int, source: int) -> float:
        """Accuracy of one cell over whole prompts."""
        queries = asked(self.model, self.tasks[target].test[:N_QUERIES])
        return accuracy(self.logits_of, self.alphas[source], self.means[target], queries)

    def lines(self, question: str, cells: Sequence[tuple[int, int]], *, trained: bool) -> list[Result]:
        """Time both sides in turn; the rival on some cells, times the number of all.

        Random weights answer nothing right, so that accuracies can be compared on the demo model alone.
        """
        found: dict[str, np.ndarray] = {}
        theirs: dict[tuple[int, int], float] = {}
        rival, ours = [], []

        def some_cells() -> None:
            theirs.update({at: self.cell(*at) for at in cells})

        def whole() -> None:
            found["ours"] = self.ours()

        for _ in range(PAIRS):
            rival.append(seconds(some_cells) * len(self.tasks) ** 2 / len(cells))
            ours.append(seconds(whole))
        found_lines = [compare(5, question, "s", rival, ours, 10.0)]
        if trained:
            gap = max(abs(found["ours"][at] - value) for at, value in theirs.items())
            what = "largest difference of an accuracy between the two, demo tasks"
            found_lines.append(alone(5, what, "accuracy", [float(gap)], 0.011))
        return found_lines


def measure(settings: Settings) -> list[Result]:
    """Compare on the demo model, whose prompts are short, and on AG-News prompts on the larger model."""
    return [*on_demo(settings), *on_news(settings)]


def on_demo(settings: Settings) -> list[Result]:
    """Every cell, of fits."""
    tasks, model, plain = demo_subjects(N_TASKS, device=settings.device)
    fits = sl.fit_site(model, tasks, sl.SiteConfig.quick(), progress=False)
    alphas, means = (
        torch.tensor(np.stack(parts), device=model.device)
        for parts in ([f.gates.values for f in fits.values()], [f.embedding.mean for f in fits.values()])
    )
    tokens = mean_tokens(model, tasks)
    every = [(target, source) for target in range(N_TASKS) for source in range(N_TASKS)]
    what = f"transfer matrix of {N_TASKS} x {N_TASKS} demo tasks, up to {N_QUERIES} queries, {tokens} tokens a prompt"
    return Matrix(model, hugging_face(plain), tasks, alphas, means).lines(what, every, trained=True)


def on_news(settings: Settings) -> list[Result]:
    """Alphas and embeddings are drawn at random: what a cell costs does not depend on them."""
    task, model, plain = settings.subjects
    tasks = [variant(task, i, None) for i in range(N_TASKS)]
    draw = torch.Generator().manual_seed(0)
    alphas = torch.rand(N_TASKS, *model.grid.shape, generator=draw).to(model.device)
    means = torch.randn(N_TASKS, *model.grid.shape, model.identity.d_head, generator=draw).to(model.device)
    tokens = mean_tokens(model, tasks)
    what = f"the same, {settings.size} Llama, AG-News prompts of {tokens} tokens, rival timed on {N_TIMED} cells"
    return Matrix(model, hugging_face(plain), tasks, alphas, means).lines(
        what, [(i, i + 1) for i in range(N_TIMED)], trained=False
    )


def mean_tokens(model: LensModel, tasks: Sequence[sl.Task]) -> int:
    """Tokens of a query, on average."""
    return round(statistics.mean(len(ids) for task in tasks for ids, _ in asked(model, task.test[:N_QUERIES])))


@torch.no_grad()
def accuracy(logits_of: LogitsOf, alphas: Tensor, mean: Tensor, queries: list[Query]) -> float:
    """Share of queries answered right by whole prompts, those of equal length in one batch."""
    right = 0
    for group in length_batches([len(ids) for ids, _ in queries], spread=1):
        tokens = torch.tensor([queries[i][0] for i in group], device=alphas.device)
        logits = logits_of(tokens, alphas.expand(len(group), -1, -1), mean.expand(len(group), -1, -1, -1))
        right += int((logits.argmax(-1) == torch.tensor([queries[i][1] for i in group], device=alphas.device)).sum())
    return right / len(queries)
