"""Training of a method's parameters on first answer tokens of train; rate and checkpoint are chosen on valid."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.queries import Queries
from site_lens.methods.method import Method
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.tasks.prompt_sampling import zero_shot_prompts


def train(
    context: ComparisonContext,
    task: str,
    method: Method,
    parameters: Sequence[Tensor],
    make_optimizer: Callable[..., torch.optim.Optimizer],
    *,
    lr: float,
    n_steps: int,
    batch_size: int,
    stream: np.random.Generator,
) -> tuple[tuple[str, ...], frozenset[int]]:
    """Train the parameters of a method on zero-shot queries of train, and leave the best on valid in them.

    Every learning rate begins at the same parameters and asks the same draws.

    Args:
        context: Model, tasks and settings.
        task: Name of the task.
        method: The method; its edits and context use the parameters as they are at the time.
        parameters: What is trained, in place.
        make_optimizer: Class of the optimiser; takes the parameters and `lr`.
        lr: The learning rate that those to try are multiples of.
        n_steps: Steps at each rate.
        batch_size: Queries in each of them.
        stream: Source of the rows of train that steps ask, with replacement.

    Returns:
        What the notes say of rate and checkpoint, and the rows of train that any step asked.

    Raises:
        FitError: The loss became nonfinite at every rate.
    """
    config, model, rows_of_train = context.config, context.model, context.tasks[task].train
    drawn = stream.integers(len(rows_of_train), size=(n_steps, batch_size))
    rows, places = np.unique(drawn, return_inverse=True)
    places = places.reshape(drawn.shape)
    asked = Queries.of(model, zero_shot_prompts([rows_of_train[i] for i in rows], config.template))
    checked = valid_questions(context, task)
    start = [parameter.detach().clone() for parameter in parameters]

    def run(rate: float) -> Iterator[Checkpoint[list[Tensor]]]:
        _load(parameters, start)
        optimizer = make_optimizer(parameters, lr=rate)
        for step in range(n_steps + 1):
            if config.evaluates_at(step, n_steps):
                (loss,) = valid_losses(context, checked, [method])
                yield Checkpoint(step, loss, [parameter.detach().clone() for parameter in parameters])
            if step < n_steps:
                optimizer.zero_grad()
                with torch.enable_grad(), method.around(model):
                    of_step = first_token_losses(model, asked.only(places[step].tolist()), method.edits(model)).mean()
                    torch.autograd.backward(of_step)
                optimizer.step()

    runs = {rate: run(rate) for rate in config.rates(lr)}
    chosen = choose_checkpoint(f"{method.name} of {task!r}", runs, n_steps=n_steps)
    _load(parameters, chosen.state)
    return chosen.notes, frozenset(rows.tolist())


@torch.no_grad()
def _load(parameters: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    for parameter, kept in zip(parameters, state, strict=True):
        parameter.copy_(kept)


def first_token_losses(model: LensModel, queries: Queries, edits: Sequence[Edit]) -> Float[Tensor, " row"]:
    """Return the cross-entropy of the first answer tokens under edits, in nats; whole prompts, with gradients."""
    batch = Batch.of(queries.ids, pad=model.encoder.pad, device=model.device)
    return F.cross_entropy(model.forward(batch, edits), queries.targets(model.device), reduction="none")
