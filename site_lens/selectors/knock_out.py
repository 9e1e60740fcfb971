"""Knock-out: what a few-shot prompt loses when one head is taken away."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.heads import Head
from site_lens.core.scores import HeadScores
from site_lens.interventions.asking import Asked
from site_lens.interventions.prefixes import prompt_batches
from site_lens.models.protocol import Edit
from site_lens.selectors.indirect_effect import on_grid, one_head_each
from site_lens.selectors.workbench import Workbench, once


@once
def zero_ablation(bench: Workbench) -> dict[str, HeadScores]:
    """Set one head's z to zero in few-shot prompts; see `knock_out`."""
    return knock_out(bench, "zero_ablation", "zeros", lambda task: _zeros(bench))


@once
def mean_ablation(bench: Workbench) -> dict[str, HeadScores]:
    """Set one head's z to its mean over prompts with shuffled labels; see `knock_out`.

    That mean keeps the form of few-shot prompts and has lost the mapping. The mean over true prompts would not do: it
    is the task embedding, which carries the task.
    """
    return knock_out(
        bench, "mean_ablation", "its mean over prompts with shuffled labels", lambda task: uninformed_mean(bench, task)
    )


def knock_out(
    bench: Workbench, name: str, what: str, value: Callable[[str], Float[Tensor, "layer head d_head"]]
) -> dict[str, HeadScores]:
    """Put a value that knows nothing in the place of one head's z, and measure what the right answer loses.

    The score is the mean fall of the log-probability of the right first token, in nats; positive where the few-shot
    prompt needs the head. `config.knock_out_at` says whether z is replaced at the last token or at every token.
    """
    grid, everywhere = bench.model.grid, bench.config.knock_out_at == "all"
    found = {}
    for task in bench.tasks:
        held = bench.probes(task)
        clean = held.under([]).log_prob
        put = value(task)
        if everywhere:
            lost = torch.stack([clean[0] - _without(bench, held.asked, head, put) for head in grid])
        else:
            lost = clean - held.answers(one_head_each(grid), put[None]).log_prob
        found[task] = HeadScores(
            grid=grid,
            values=on_grid(grid, lost.mean(1)),
            selector=name,
            meaning=f"nats that the answer loses when the head's output at {bench.config.knock_out_at} prompt token"
            f"{'s' if everywhere else ''} is replaced by {what}; positive: the prompt needs the head",
            task=task,
            n_forwards=len(held) * (len(grid) + 1) + (bench.config.n_prompts if name == "mean_ablation" else 0),
            n_labelled=bench.labelled(*(["embedding"] if name == "mean_ablation" else []), "probes", task=task),
        )
    return found


def _zeros(bench: Workbench) -> Float[Tensor, "layer head d_head"]:
    return torch.zeros(*bench.model.grid.shape, bench.model.identity.d_head, device=bench.model.device)


def uninformed_mean(bench: Workbench, task: str) -> Float[Tensor, "layer head d_head"]:
    """Return the mean z at the last token of the embedding's own prompts with their labels shuffled."""
    return bench.mean_over(bench.embedding_set(task, shuffled=True).prompts, bench.model.last_z)


@torch.no_grad()
def _without(
    bench: Workbench, asked: Asked, head: Head, put: Float[Tensor, "layer head d_head"]
) -> Float[Tensor, " prompt"]:
    """Return the log-probability of every answer with one head replaced at every token: whole prompts, no prefix."""

    def replaced(z: Float[Tensor, "row pos head d_head"]) -> Tensor:
        changed = z.clone()
        changed[:, :, head.head] = put[head.layer, head.head].to(z.device)
        return changed

    found = torch.zeros(len(asked), device=bench.model.device)
    for group, batch in prompt_batches(bench.model, asked.ids):
        part = asked.only(group)
        logits = bench.model.forward(batch, [Edit(head.layer, replaced, column=None)])
        found[group] = logits.log_softmax(-1).gather(1, part.targets(logits.device)[:, None])[:, 0]
    return found
