"""Joint optimizer: the one loop that fits many alpha maps at once over cached prefixes.

SITE edits only the last prompt token, so the keys and values of all earlier tokens do not depend on alpha: they are
computed once, and every step runs one token a query. Row r of a batch uses the gates of its alpha map and the embedding
of its job. Losses are summed over maps, nothing is clipped, every map has its own parameter, optimiser state and random
stream; so a joint fit follows the same path as separate ones, up to rounding.

A `GateParametrization` turns parameters into gates: SITE's is the sigmoid, other selectors bring theirs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
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
from site_lens.site.cuda_graphs import WIDTH_STEP, GraphedPass
from site_lens.site.fit import Status
from site_lens.site.gate_parametrization import GateParametrization, Sigmoid
from site_lens.site.plan import AlphaMap, BatchStep, Indices, Plan

RANDOM_INIT_SD = 2.0
"""Standard deviation of a random start, before the sigmoid: alphas spread over all of (0, 1)."""

PRICE_RAMP = 0.3
"""Share of the steps over which the price of a head rises from 0: first the loss finds the heads that help."""

CONVERGED_MOVE = 0.05
"""Largest change of any alpha over the last steps of a fit that counts as converged."""

SETTLED_STEPS = 10
"""How many steps these are at least; one step of Adam at the default rate moves no alpha by more than 0.05."""


@dataclass
class AlphaMapRun:
    """Training of one alpha map: its losses, its evaluations, and how it ended."""

    alpha_map: AlphaMap
    start: Float32
    """(layer head): gates before the first step."""
    loss: list[float] = field(default_factory=list)
    """(step): cross-entropy in nats, without the penalty of the parametrization."""
    eval_steps: list[int] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    alphas: list[Float32] = field(default_factory=list)
    """(evaluation), each (layer head): the deterministic gates; in [0, 1] unless they are `Unbounded`, whose weights
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

    def evaluated(self, step: int, loss: float, accuracy: float, alpha: Float32, raw: Float32) -> None:
        """Record an evaluation, and stop where the settings say so."""
        if not np.isfinite(loss):
            self.ended = "nonfinite"
            return
        self.eval_steps.append(step)
        self.valid_loss.append(loss)
        self.valid_accuracy.append(accuracy)
        self.alphas.append(alpha)
        self.raws.append(raw)
        patience, candidates = self.alpha_map.config.patience, self._candidates()
        if patience is not None and len(candidates):
            since = len(candidates) - 1 - int(np.argmin(self.objectives()[candidates]))
            if since >= patience:
                self.ended = "early_stop"

    def objectives(self) -> NDArray[np.float64]:
        """(evaluation): validation loss and the price of the open heads, in nats."""
        masses = np.array([alpha.sum(dtype=np.float64) for alpha in self.alphas])
        return np.array(self.valid_loss) + self.alpha_map.config.head_price * masses

    def _candidates(self) -> Indices:
        """(candidate): evaluations whose alphas can be kept; with a price those after it has risen."""
        config, steps = self.alpha_map.config, np.array(self.eval_steps)
        return np.flatnonzero(steps >= (PRICE_RAMP * config.n_steps if config.head_price else 0))

    def kept(self) -> int:
        """Return which evaluation's alphas are kept."""
        candidates = self._candidates()
        if self.alpha_map.config.keep == "last" or not len(candidates):
            return len(self.valid_loss) - 1
        return int(candidates[np.argmin(self.objectives()[candidates])])

    def status(self) -> Status:
        """Return how the fit ended; see `Status`."""
        if self.ended == "nonfinite":
            return "nonfinite"
        objectives = self.objectives()
        if len(self.alphas) > 1 and objectives[self.kept()] >= objectives[0]:
            return "no_improvement"
        if self.ended is not None:
            return self.ended
        n_earlier = sum(step <= self.n_steps - SETTLED_STEPS for step in self.eval_steps)
        settled = n_earlier > 0 and np.abs(self.alphas[-1] - self.alphas[n_earlier - 1]).max() <= CONVERGED_MOVE
        return "converged" if settled else "step_limit"


class Rows(NamedTuple):
    """Tensors of some rows of a step."""

    maps: Int[Tensor, " row"]
    """Alpha map of each row."""
    jobs: Int[Tensor, " row"]
    """Job of each row."""
    tail: Int[Tensor, "row tail"]
    """Tokens to run: the last of the prompt, and those of the answer but its last."""
    targets: Int[Tensor, "row tail"]
    """Tokens to predict there."""
    weights: Float[Tensor, "row tail"]
    """Weight of each in the loss."""


class JointOptimizer:
    """Optimizer of a plan.

    Args:
        model: The model.
        plan: What to fit.
        budget_bytes: Bytes of prefixes to hold at a time.
        gates: How parameters become gates; the sigmoid when None.
    """

    is_behind_prefixes: ClassVar[bool] = True
    """Whether a pass runs the tail behind prefixes; False where it runs whole prompts."""

    def __init__(
        self, model: LensModel, plan: Plan, *, budget_bytes: int, gates: GateParametrization | None = None
    ) -> None:
        self._model, self._plan, self._gates = model, plan, gates or Sigmoid()
        self._raw = [nn.Parameter(_start(model, plan, alpha_map, self._gates)) for alpha_map in plan.alpha_maps]
        self._streams = [_stream(plan, alpha_map, "gates") for alpha_map in plan.alpha_maps]
        self._mask = torch.tensor(model.grid.mask, device=model.device)
        self.runs = [AlphaMapRun(alpha_map, self._alpha(i)) for i, alpha_map in enumerate(plan.alpha_maps)]
        for run in self.runs:
            run.trouble = next((plan.jobs[i].trouble for i in run.alpha_map.jobs if plan.jobs[i].trouble), None)
            run.ended = "nonfinite" if run.trouble else None
        lrs = [alpha_map.config.lr for alpha_map in plan.alpha_maps]
        self._adam = torch.optim.Adam([{"params": [p], "lr": lr} for p, lr in zip(self._raw, lrs, strict=True)])
        means = [job.embedding.mean * (job.config.embedding == "task") for job in plan.jobs]
        self._embeddings = torch.tensor(np.stack(means), device=model.device)
        sizes = [alpha_map.config.batch_size for alpha_map in plan.alpha_maps]
        self._sizes = torch.tensor(sizes, device=model.device)
        graphs = model.cuda_graphs and self.is_behind_prefixes
        self._graphs = GraphedPass(model.device) if graphs else None
        config, prompt_of = plan.jobs[0].config, np.array(plan.questions.prompt_of)
        self._rule = config.mix
        self._schedule = PrefixSchedule(
            model, plan.questions.prompts, [prompt_of[step.questions] for step in plan.steps],
            budget_bytes=budget_bytes, dtype=config.prefix_dtype, multiple=WIDTH_STEP if graphs else 1,
        )  # fmt: skip

    def run(self, *, progress: bool | None) -> list[AlphaMapRun]:
        """Take every step of every alpha map that has not ended."""
        what = f"fitting {len(self.runs)} alpha maps"
        with progress_bar(len(self._plan.steps), what, unit="pass", progress=progress) as bar:
            for _ in self.steps():
                bar.update()
        return self.runs

    def steps(self) -> Iterator[BatchStep]:
        """Take the steps of the plan one after the other, and yield each when it is done."""
        for index, step in enumerate(self._plan.steps):
            going = np.array([run.ended is None for run in self.runs])
            rows = np.nonzero(going[step.maps])[0]
            if len(rows):
                self._train(index, step, rows) if step.training else self._evaluate(index, step, rows)
            yield step

    def _train(self, index: int, step: BatchStep, rows: Indices) -> None:
        self._adam.zero_grad(set_to_none=True)
        sums, going = np.zeros(len(self.runs)), np.unique(step.maps[rows])
        noise = self._noise(going)
        with torch.enable_grad():
            raw = self._stacked()
        gradient = torch.zeros_like(raw)

        def learn(places: Indices, passed: Any) -> None:
            run = partial(self._graphs, self._differentiate) if self._graphs else self._differentiate
            losses, of_chunk = run(passed, raw.detach(), *self._asked(step, places), *noise)
            values = losses.cpu().numpy()
            self._note_nonfinite(step, places, values)
            np.add.at(sums, step.maps[places], values)
            gradient.add_(of_chunk)

        self._each(index, step, rows, learn)
        raw.backward(gradient)  # type: ignore[no-untyped-call]  # torch types it in part
        with torch.enable_grad():
            penalty = self._penalty(step.step, going)
            if penalty is not None:
                penalty.sum().backward()  # type: ignore[no-untyped-call]
        for i in going:
            run, grad = self.runs[i], self._raw[i].grad
            if np.isfinite(sums[i]) and grad is not None and bool(grad.isfinite().all()):
                run.loss.append(float(sums[i]))
                continue
            run.ended, self._raw[i].grad = "nonfinite", None
            run.trouble = run.trouble or (
                f"the gradient of alpha is not finite in {self._model.identity.dtype} at step {step.step}"
            )
        self._adam.step()

    @torch.enable_grad()
    def _differentiate(self, passed: Any, raw: Float[Tensor, "map layer head"], *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return what each row adds to the loss of its map, (row), and the gradient of their sum, (map layer head).

        Args:
            passed: What `_logits` runs.
            raw: The parameters of all maps.
            tensors: Those of `Rows`, and of stochastic gates what they are drawn from.
        """
        rows, noise = Rows(*tensors[: len(Rows._fields)]), tensors[len(Rows._fields) :]
        leaf = raw.detach().requires_grad_()
        gates = self._gates.sample(leaf, *noise) if noise else self._gates.deterministic(leaf)
        logits = self._logits(passed, rows, gates[rows.maps])
        losses = answer_loss(logits, rows.targets, rows.weights) / self._sizes[rows.maps]
        return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]

    @torch.no_grad()
    def _evaluate(self, index: int, step: BatchStep, rows: Indices) -> None:
        losses, right = np.full((2, len(step.maps)), np.nan)
        gates = self._gates.deterministic(self._stacked())

        def judge(places: Indices, passed: Any) -> None:
            asked = self._asked(step, places)
            logits = self._logits(passed, asked, gates[asked.maps])
            losses[places] = answer_loss(logits, asked.targets, asked.weights).cpu().numpy()
            right[places] = (logits[:, 0].argmax(-1) == asked.targets[:, 0]).cpu().numpy()
            self._note_nonfinite(step, places, losses[places])

        self._each(index, step, rows, judge)
        for i in np.unique(step.maps[rows]):
            # Each task counts once where several share an alpha map, however many rows it has.
            of_job = [(step.maps == i) & (step.jobs == job) for job in self.runs[i].alpha_map.jobs]
            loss, accuracy = (float(np.mean([values[mine].mean() for mine in of_job])) for values in (losses, right))
            raw = cast(Float32, self._by_head(int(i)).detach().cpu().numpy().copy())
            self.runs[i].evaluated(step.step, loss, accuracy, self._alpha(int(i)), raw)

    def _note_nonfinite(self, step: BatchStep, places: Indices, losses: Float32) -> None:
        """Record the first question of each map whose loss is not finite: row, number format and layer."""
        for place in places[~np.isfinite(losses)]:
            run, task = self.runs[step.maps[place]], self._plan.jobs[step.jobs[place]].task
            if run.trouble is None:
                split, row = "train" if step.training else "valid", int(step.rows[place])
                ids = self._plan.questions.prompts[self._plan.questions.prompt_of[step.questions[place]]]
                z = self._model.last_z(Batch.of([ids], pad=self._model.encoder.pad, device=self._model.device))[0]
                run.trouble = (
                    f"the loss of {split} row {row} of {task.name!r} ({getattr(task, split)[row].input!r}) is not "
                    f"finite in {self._model.identity.dtype} at step {step.step}; in the plain model "
                    f"{nonfinite_layers(z.cpu().numpy())}"
                )

    def _alpha(self, i: int) -> Float32:
        """(layer head): the deterministic gates of a map as they stand."""
        alpha = self._gates.deterministic(self._by_head(i).detach()).cpu().numpy()
        return cast(Float32, alpha * self._model.grid.mask)

    def _by_head(self, i: int) -> Float[Tensor, "layer head"]:
        """Return the parameter of a map head by head; heads of a layer share one where the settings say so."""
        return self._raw[i].expand(self._model.grid.shape)

    def _stacked(self) -> Float[Tensor, "map layer head"]:
        """Return the parameters of all maps."""
        return torch.stack([self._by_head(i) for i in range(len(self._raw))])

    def _noise(self, going: Indices) -> tuple[Float[Tensor, "map layer head"], ...]:
        """Draw what stochastic gates of one training step are made of, for the maps that go on; nothing for others."""
        if not self._gates.stochastic:
            return ()
        uniform = np.zeros((len(self.runs), *self._model.grid.shape), dtype=np.float32)
        for i in going:
            uniform[i] = self._streams[i].random(self._model.grid.shape)
        return (torch.tensor(uniform, device=self._model.device),)

    def _penalty(self, step: int, going: Indices) -> Float[Tensor, " map"] | None:
        """Return the penalties of the maps that go on."""
        configs = [self.runs[i].alpha_map.config for i in going]
        raw = torch.stack([self._by_head(int(i)) for i in going])
        shares = torch.tensor([step / config.n_steps for config in configs], device=self._model.device)
        penalty = self._gates.penalty(raw, shares, self._mask)
        prices = torch.tensor([config.head_price for config in configs], device=self._model.device)
        if not prices.any():
            return penalty
        mass = self._gates.deterministic(raw)[:, self._mask].sum(-1)
        # A warm start has found its heads already: it pays the whole price from its first step.
        warm = [self._plan.jobs[self.runs[i].alpha_map.jobs[0]].warm_start is not None for i in going]
        ramp = (shares / PRICE_RAMP).clamp(max=1).maximum(torch.tensor(warm, device=self._model.device).float())
        cost = prices * ramp * mass
        return cost if penalty is None else cost + penalty

    def _each(self, index: int, step: BatchStep, rows: Indices, work: Callable[[Indices, Any], object]) -> None:
        """Do some work on the rows of a step, chunk by chunk: it takes their places, and what `_logits` runs."""
        self._schedule.each(index, rows, work)

    def _logits(
        self, passed: Any, rows: Rows, gates: Float[Tensor, "row layer head"]
    ) -> Float[Tensor, "row tail vocab"]:
        """Return the logits at every token of the tail; `passed` is the prefix."""
        edits = injection(
            gates, self._embeddings, rows.jobs, heads_per_layer=self._model.grid.heads_per_layer, rule=self._rule,
            column=0,
        )  # fmt: skip
        return self._model.decode(passed, rows.tail, edits)[0]

    def _asked(self, step: BatchStep, places: Indices) -> Rows:
        """Return the tensors of some rows of a step."""
        plan, pad, device = self._plan.questions, self._model.encoder.pad, self._model.device
        questions = step.questions[places]
        answers = [plan.answers[q] for q in questions]
        width = max(map(len, answers))
        lengths = torch.tensor([len(answer) for answer in answers], device=device)[:, None]
        targets = torch.tensor([answer + [pad] * (width - len(answer)) for answer in answers], device=device)
        last = torch.tensor([plan.prompts[plan.prompt_of[q]][-1:] for q in questions], device=device)
        return Rows(
            maps=torch.tensor(step.maps[places], device=device),
            jobs=torch.tensor(step.jobs[places], device=device),
            tail=torch.cat([last, targets[:, :-1]], dim=1),
            targets=targets,
            weights=(torch.arange(width, device=device) < lengths) / lengths,
        )


def answer_loss(
    logits: Float[Tensor, "row tail vocab"], targets: Int[Tensor, "row tail"], weights: Float[Tensor, "row tail"]
) -> Float[Tensor, " row"]:
    """Return the weighted cross-entropy of each row, in nats."""
    by_token = rearrange(logits, "row tail vocab -> (row tail) vocab")
    losses = F.cross_entropy(by_token, targets.flatten(), reduction="none").view_as(weights)
    return (losses * weights).sum(-1)


def _start(model: LensModel, plan: Plan, alpha_map: AlphaMap, gates: GateParametrization) -> Tensor:
    """Return the parameter that a map begins with: (layer head), or (layer 1), one a layer."""
    warm_start, config = plan.jobs[alpha_map.jobs[0]].warm_start, alpha_map.config
    shape = model.grid.shape if config.alpha_per == "head" else (model.grid.n_layers, 1)
    if warm_start is not None:
        given = warm_start.values
        if config.alpha_per == "layer":
            given = given.sum(1, keepdims=True) / np.maximum(model.grid.mask.sum(1, keepdims=True), 1)
        start = torch.tensor(given, dtype=torch.float32).clamp(gates.margin, 1 - gates.margin)
        return gates.raw(start).to(model.device)
    if config.init == "random":
        normal = _stream(plan, alpha_map, "init").normal(0, RANDOM_INIT_SD, shape)
        return torch.tensor(normal, dtype=torch.float32, device=model.device)
    return gates.raw(torch.full(shape, float(config.init))).to(model.device)


def _stream(plan: Plan, alpha_map: AlphaMap, purpose: str) -> np.random.Generator:
    """Open a map's own random stream, which does not depend on who else is in the batch."""
    return seed_stream(alpha_map.config.seed, *(plan.jobs[i].task.digest for i in alpha_map.jobs), purpose)
