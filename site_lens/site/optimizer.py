"""The one loop that fits many alpha maps at once over cached prefixes.

SITE edits only the last prompt token, so the keys and values of all earlier tokens do not depend on alpha: they are
computed once, and every step runs one token a query. Row r of a batch uses alpha[unit(r)] and embedding[job(r)].
Losses are summed over units, nothing is clipped, every unit has its own parameter, optimiser state and random
stream; so a joint fit follows the same path as separate ones, up to rounding.

How the parameter becomes a gate is a law (`gate_laws.py`): SITE's is the sigmoid, other selectors bring theirs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from site_lens.activations.capture import nonfinite_layers
from site_lens.activations.injection import injection
from site_lens.activations.prefill import PrefixSchedule
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.base import Float32
from site_lens.records.hashing import seed_stream
from site_lens.records.progress import progress_bar
from site_lens.site.fit import Status
from site_lens.site.gate_parametrization import GateParametrization, Sigmoid
from site_lens.site.plan import Indices, Pass, Plan, Unit

RANDOM_INIT_SD = 2.0
"""Standard deviation of a random start, before the sigmoid: alphas spread over all of (0, 1)."""

CONVERGED_MOVE = 0.05
"""Largest change of any alpha over the last steps of a fit that counts as converged."""

SETTLED_STEPS = 10
"""How many steps these are at least; one step of Adam at the default rate moves no alpha by more than 0.05."""


@dataclass
class AlphaMapRun:
    """How one alpha map fares."""

    unit: Unit
    start: Float32
    """(layer head): gates before the first step."""
    loss: list[float] = field(default_factory=list)
    """(step): cross-entropy in nats, without the law's penalty."""
    eval_steps: list[int] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    alphas: list[Float32] = field(default_factory=list)
    """(evaluation), each (layer head): the settled gates of the law; in [0, 1] unless it is `Unbounded`, whose weights
    are no alphas."""
    raws: list[Float32] = field(default_factory=list)
    """(evaluation), each (layer head): the parameter."""
    ended: Status | None = None
    """Why it stopped before its last step, if it did."""
    trouble: str | None = None
    """What was not finite, and where."""

    @property
    def n_steps(self) -> int:
        """Steps taken."""
        return len(self.loss)

    def record(self, step: int, loss: float, accuracy: float, alpha: Float32, raw: Float32) -> None:
        """Take down an evaluation, and stop where the settings say so."""
        if not np.isfinite(loss):
            self.ended = "nonfinite"
            return
        self.eval_steps.append(step)
        self.valid_loss.append(loss)
        self.valid_accuracy.append(accuracy)
        self.alphas.append(alpha)
        self.raws.append(raw)
        patience = self.unit.config.patience
        if patience is not None and len(self.valid_loss) - 1 - int(np.argmin(self.valid_loss)) >= patience:
            self.ended = "early_stop"

    def kept(self) -> int:
        """Return which evaluation's alphas are kept."""
        return int(np.argmin(self.valid_loss)) if self.unit.config.keep == "best" else len(self.valid_loss) - 1

    def status(self) -> Status:
        """Return how the fit ended; see `Status`."""
        if self.ended == "nonfinite":
            return "nonfinite"
        if len(self.alphas) > 1 and self.valid_loss[self.kept()] >= self.valid_loss[0]:
            return "diverged"
        if self.ended is not None:
            return self.ended
        n_earlier = sum(step <= self.n_steps - SETTLED_STEPS for step in self.eval_steps)
        settled = n_earlier > 0 and np.abs(self.alphas[-1] - self.alphas[n_earlier - 1]).max() <= CONVERGED_MOVE
        return "converged" if settled else "step_limit"


class SiteLoop:
    """Runs a plan.

    Args:
        model: The model.
        plan: What to fit.
        budget_bytes: Bytes of prefixes to hold at a time.
        law: How parameters become gates.
    """

    def __init__(
        self, model: LensModel, plan: Plan, *, budget_bytes: int, law: GateParametrization | None = None
    ) -> None:
        self._model, self._plan, self._law = model, plan, law or Sigmoid()
        self._raw = [nn.Parameter(_start(model, plan, unit, self._law)) for unit in plan.units]
        self._streams = [_stream(plan, unit, "gates") for unit in plan.units]
        self._mask = torch.tensor(model.grid.mask, device=model.device)
        self.runs = [AlphaMapRun(unit, self._alpha(i)) for i, unit in enumerate(plan.units)]
        for run in self.runs:
            for job in (plan.jobs[i] for i in run.unit.jobs):
                if job.trouble is not None:
                    run.ended, run.trouble = "nonfinite", run.trouble or job.trouble
        groups = [{"params": [p], "lr": run.unit.config.lr} for p, run in zip(self._raw, self.runs, strict=True)]
        self._adam = torch.optim.Adam(groups)
        means = [
            np.zeros_like(job.embedding.mean) if job.config.embedding == "zero" else job.embedding.mean
            for job in plan.jobs
        ]
        self._embeddings = torch.tensor(np.stack(means), device=model.device)
        self._rule = plan.jobs[0].config.mix
        prompts = [plan.questions.prompt_of[p.questions] for p in plan.passes]
        dtype = plan.jobs[0].config.prefix_dtype
        self._schedule = PrefixSchedule(model, plan.questions.prompts, prompts, budget_bytes=budget_bytes, dtype=dtype)

    def run(self, *, progress: bool | None) -> list[AlphaMapRun]:
        """Take every step of every unit that has not ended, and return how they fared."""
        with progress_bar(
            len(self._plan.passes), f"fitting {len(self.runs)} alpha maps", unit="pass", progress=progress
        ) as bar:
            for _ in self.passes():
                bar.update()
        return self.runs

    def passes(self) -> Iterator[Pass]:
        """Make the passes of the plan one after the other, and yield each when it is done."""
        for i, one in enumerate(self._plan.passes):
            live = np.array([run.ended is None for run in self.runs])
            chosen = np.nonzero(live[one.units])[0]
            if len(chosen):
                self._train(i, one, chosen) if one.training else self._evaluate(i, one, chosen)
            yield one

    def _train(self, i: int, one: Pass, chosen: Indices) -> None:
        self._adam.zero_grad(set_to_none=True)
        sums, going = np.zeros(len(self.runs)), np.unique(one.units[chosen])
        batch_sizes = torch.tensor([run.unit.config.batch_size for run in self.runs], device=self._model.device)
        with torch.enable_grad():
            for places, units, losses, _ in self._forward(i, one, chosen, self._draws(going)):
                means = losses / batch_sizes[units]
                means.sum().backward()  # type: ignore[no-untyped-call]  # torch types it in part
                found = means.detach().cpu().numpy()
                self._look(one, places, found)
                np.add.at(sums, one.units[places], found)
            penalty = self._penalty(one.step, going)
            if penalty is not None:
                penalty.sum().backward()  # type: ignore[no-untyped-call]
        for u in going:
            grad = self._raw[u].grad
            if not np.isfinite(sums[u]) or grad is None or not bool(grad.isfinite().all()):
                self.runs[u].ended = "nonfinite"
                self.runs[u].trouble = self.runs[u].trouble or (
                    f"the gradient of alpha is not finite in {self._model.identity.dtype} at step {one.step}"
                )
                self._raw[u].grad = None
            else:
                self.runs[u].loss.append(float(sums[u]))
        self._adam.step()

    @torch.no_grad()
    def _evaluate(self, i: int, one: Pass, chosen: Indices) -> None:
        losses, right = np.full(len(one.units), np.nan), np.full(len(one.units), np.nan)
        for places, _, found, correct in self._forward(i, one, chosen):
            losses[places], right[places] = found.cpu().numpy(), correct.cpu().numpy()
            self._look(one, places, losses[places])
        for u in np.unique(one.units[chosen]):
            # Each task counts once where several share an alpha map, however many rows it has.
            of_job = [(one.units == u) & (one.jobs == job) for job in self.runs[u].unit.jobs]
            loss, accuracy = (float(np.mean([each[rows].mean() for rows in of_job])) for each in (losses, right))
            raw: Float32 = self._whole(int(u)).detach().cpu().numpy()
            self.runs[u].record(one.step, loss, accuracy, self._alpha(int(u)), raw.copy())

    def _look(self, one: Pass, places: Indices, losses: Float32) -> None:
        """Take down the first question of each unit whose loss is not finite: row, number format and layer."""
        for place in places[~np.isfinite(losses)]:
            run = self.runs[one.units[place]]
            if run.trouble is None:
                job, split = one.jobs[place], "train" if one.training else "valid"
                rows = run.unit.train_rows[one.step] if one.training else _places_within(run.unit.valid_jobs)
                row = int(rows[np.flatnonzero(one.units == one.units[place]).searchsorted(place)])
                ids = self._plan.questions.prompts[self._plan.questions.prompt_of[one.questions[place]]]
                z = self._model.last_z(Batch.of([ids], pad=self._model.encoder.pad, device=self._model.device))[0]
                task = self._plan.jobs[job].task
                run.trouble = (
                    f"the loss of {split} row {row} of {task.name!r} ({getattr(task, split)[row].input!r}) is not "
                    f"finite in {self._model.identity.dtype} at step {one.step}; in the plain model "
                    f"{nonfinite_layers(z.cpu().numpy())}"
                )

    def _alpha(self, unit: int) -> Float32:
        """(layer head): the settled gates of a unit as they stand."""
        alpha = self._law.settled(self._whole(unit).detach()).cpu().numpy()
        return cast(Float32, alpha * self._model.grid.mask)

    def _whole(self, unit: int) -> Float[Tensor, "layer head"]:
        """Return the parameter of a unit head by head; heads of a layer share one where the settings say so."""
        return self._raw[unit].expand(self._model.grid.shape)

    def _draws(self, going: Indices) -> Float[Tensor, "unit layer head"] | None:
        """Draw what the gates of one training pass are made of, for the units that go on; None where nothing is."""
        if not self._law.by_chance:
            return None
        uniform = np.zeros((len(self.runs), *self._model.grid.shape), dtype=np.float32)
        for u in going:
            uniform[u] = self._streams[u].random(self._model.grid.shape)
        return torch.tensor(uniform, device=self._model.device)

    def _penalty(self, step: int, going: Indices) -> Float[Tensor, " unit"] | None:
        """Return the penalties of the units that go on."""
        progress = torch.tensor([step / self.runs[u].unit.config.n_steps for u in going], device=self._model.device)
        return self._law.penalty(torch.stack([self._whole(int(u)) for u in going]), progress, self._mask)

    def _forward(
        self, i: int, one: Pass, chosen: Indices, draws: Float[Tensor, "unit layer head"] | None = None
    ) -> Iterator[tuple[Indices, Tensor, Tensor, Tensor]]:
        """Yield places, units (row), loss (row) and whether the first answer token is ranked first (row), in chunks."""
        for places, prefix in self._schedule.take(i, chosen):
            units = torch.tensor(one.units[places], device=self._model.device)
            jobs = torch.tensor(one.jobs[places], device=self._model.device)
            raw = torch.stack([self._whole(u) for u in range(len(self._raw))])
            alphas = (self._law.settled(raw) if draws is None else self._law.drawn(raw, draws))[units]
            edits = injection(
                alphas,
                self._embeddings,
                jobs,
                heads_per_layer=self._model.grid.heads_per_layer,
                rule=self._rule,
                column=0,
            )
            tail, targets, weights = self._answers(one.questions[places])
            logits, _ = self._model.decode(prefix, tail, edits)
            losses = answer_loss(logits, targets, weights)
            yield places, units, losses, logits[:, 0].argmax(-1) == targets[:, 0]

    def _answers(self, questions: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tail to run, (row tail), the tokens to predict there, and the weight of each in the loss."""
        plan, pad = self._plan.questions, self._model.encoder.pad
        answers = [plan.answers[q] for q in questions]
        width = max(map(len, answers))
        last = [plan.prompts[plan.prompt_of[q]][-1] for q in questions]
        tail = [[end, *answer[:-1]] + [pad] * (width - len(answer)) for end, answer in zip(last, answers, strict=True)]
        targets = [answer + [pad] * (width - len(answer)) for answer in answers]
        weights = [[1 / len(answer)] * len(answer) + [0.0] * (width - len(answer)) for answer in answers]
        device = self._model.device
        return (
            torch.tensor(tail, device=device),
            torch.tensor(targets, device=device),
            torch.tensor(weights, device=device),
        )


def _places_within(owners: Indices) -> Indices:
    """Count each entry among those of its own owner, from 0."""
    return np.array([int((owners[:i] == owner).sum()) for i, owner in enumerate(owners)])


def answer_loss(
    logits: Float[Tensor, "row tail vocab"], targets: Int[Tensor, "row tail"], weights: Float[Tensor, "row tail"]
) -> Float[Tensor, " row"]:
    """Return the weighted cross-entropy of each row, in nats."""
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(weights)
    return (each * weights).sum(-1)


def _start(model: LensModel, plan: Plan, unit: Unit, law: GateParametrization) -> Tensor:
    """Return the parameter before the law that a unit begins with: (layer head), or (layer 1), one a layer."""
    job, config = plan.jobs[unit.jobs[0]], unit.config
    shape = model.grid.shape if config.alpha_per == "head" else (model.grid.n_layers, 1)
    if job.warm_start is not None:
        given = job.warm_start.values
        if config.alpha_per == "layer":
            given = given.sum(1, keepdims=True) / np.maximum(model.grid.mask.sum(1, keepdims=True), 1)
        gates = torch.tensor(given, dtype=torch.float32).clamp(law.margin, 1 - law.margin)
        return law.raw(gates).to(model.device)
    if config.init == "random":
        drawn = _stream(plan, unit, "init").normal(0, RANDOM_INIT_SD, shape)
        return torch.tensor(drawn, dtype=torch.float32, device=model.device)
    return law.raw(torch.full(shape, float(config.init))).to(model.device)


def _stream(plan: Plan, unit: Unit, purpose: str) -> np.random.Generator:
    """Open a unit's own random stream, which does not depend on who else is in the batch."""
    return seed_stream(unit.config.seed, *(plan.jobs[i].task.digest for i in unit.jobs), purpose)
