"""Choice of checkpoint and learning rate on valid, by one rule for every trained rival of SITE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

from site_lens.records.errors import FitError

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[S]):
    """Checkpoint of a training run, evaluated on valid."""

    step: int
    """Steps taken before the evaluation; 0 is the start."""
    loss: float
    """Mean cross-entropy of the first answer tokens of valid, in nats, with what the method adds to it in training."""
    state: S
    """What was trained."""


@dataclass(frozen=True, slots=True)
class Chosen(Generic[S]):
    """The checkpoint that was kept."""

    state: S
    notes: tuple[str, ...]
    """Which learning rate and step it is, out of which, and which rates were left out."""


def choose_checkpoint(what: str, runs: Mapping[float, Iterable[Checkpoint[S]]], *, n_steps: int) -> Chosen[S]:
    """Return the checkpoint of lowest validation loss, over one run a learning rate.

    Of equal losses the earlier rate wins, then the earlier step. A run one of whose losses is not finite is left out
    as a whole, and the notes say so.

    Args:
        what: Which method and task it is, for notes and errors.
        runs: The checkpoints of each learning rate, in order; they may be made while they are read.
        n_steps: Steps of a whole run.

    Raises:
        FitError: No rate had finite losses alone.
    """
    best: dict[float, Checkpoint[S]] = {}
    left_out = []
    for lr, run in runs.items():
        for checkpoint in run:
            if not isfinite(checkpoint.loss):
                left_out.append(
                    f"the loss of {what} became nonfinite after {checkpoint.step} steps at learning rate {lr:g}"
                )
                best.pop(lr, None)
                break
            if lr not in best or checkpoint.loss < best[lr].loss:
                best[lr] = checkpoint
    if not best:
        raise FitError(f"{left_out[0]}; use dtype='float32', or a smaller learning rate")
    kept = min(best, key=lambda lr: best[lr].loss)
    tried = ", ".join(f"{lr:g}" for lr in runs)
    note = f"{what} was kept after {best[kept].step} of {n_steps} steps at learning rate {kept:g}, chosen on valid"
    return Chosen(best[kept].state, (f"{note} (rates tried: {tried})", *(f"{why}; left out" for why in left_out)))
