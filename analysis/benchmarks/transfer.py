"""Row 5: a transfer matrix over shared prefixes, against cell by cell over whole prompts."""

import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, compare, interleaved
from analysis.benchmarks.published import LogitsOf, Query, asked, hugging_face
from analysis.benchmarks.settings import Settings
from analysis.benchmarks.subjects import demo_subjects
from site_lens.core.transfer import KINDS
from site_lens.interventions.prefixes import length_batches

N_TASKS, N_QUERIES = 12, 96


def measure(settings: Settings) -> list[Result]:
    """Compare wall time of all three matrices; ours measures their references and nulls besides."""
    tasks, model, plain = demo_subjects(N_TASKS, device=settings.device)
    fits = sl.fit_site(model, tasks, progress=False)
    queries = {task.name: asked(model, task.test[:N_QUERIES]) for task in tasks}
    logits_of = hugging_face(plain)
    cells: dict[tuple[str, str, str], float] = {}

    def cell_by_cell() -> None:
        for kind in KINDS:
            for source in fits.values():
                for target in fits.values():
                    gates = (target if kind == "embedding" else source).gates.values
                    mean = (target if kind == "alphas" else source).embedding.mean
                    cells[kind, source.task, target.task] = accuracy(
                        logits_of,
                        torch.tensor(gates, device=model.device),
                        torch.tensor(mean, device=model.device),
                        queries[target.task],
                    )

    found: list[sl.TransferMatrix] = []

    def ours() -> None:
        found.append(sl.transfer_matrix(model, tasks, fits, max_queries=N_QUERIES, progress=False))

    rival_times, our_times = interleaved(cell_by_cell, ours, n=2, warm_up=0)
    gaps = [
        abs(found[-1].cell(kind, source.name, target.name).value - cells[kind, source.name, target.name])
        for kind in KINDS for source in tasks for target in tasks
    ]  # fmt: skip
    what = f"{len(KINDS)} transfer matrices of {N_TASKS} x {N_TASKS} demo tasks, up to {N_QUERIES} queries a cell"
    return [
        compare(5, what, "s", rival_times, our_times, 10.0),
        alone(5, "largest difference of an accuracy between the two", "accuracy", [max(gaps)], 0.011),
    ]


@torch.no_grad()
def accuracy(logits_of: LogitsOf, gates: torch.Tensor, mean: torch.Tensor, queries: list[Query]) -> float:
    """Share of queries answered right by whole prompts, those of equal length in one batch."""
    right = 0
    for group in length_batches([len(ids) for ids, _ in queries], equal=True):
        tokens = torch.tensor([queries[i][0] for i in group], device=gates.device)
        logits = logits_of(tokens, gates.expand(len(group), -1, -1), mean.expand(len(group), -1, -1, -1))
        right += int((logits.argmax(-1) == torch.tensor([queries[i][1] for i in group], device=gates.device)).sum())
    return right / len(queries)
