"""Convergence to binary: how the alphas of a fit went from the middle to the ends."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from site_lens.records.base import Axes, Count, Float32, Lengths, Record
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteFit


class Convergence(Record):
    """Convergence to binary gates over the steps of one fit; every figure is over all heads."""

    kind: ClassVar[str] = "convergence"
    lengths: ClassVar[Lengths] = {"steps": "evaluation"}

    task: str
    seed: Count
    steps: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Steps taken before each evaluation; the first is 0."""
    n_steps: int = Field(ge=1)
    """Steps that the fit was scheduled for."""
    n_heads: int = Field(ge=1)
    undecided: Annotated[Float32, Axes(("evaluation",), 0, 1)]
    """(evaluation): share of the heads with 0.1 < alpha < 0.9."""
    entropy: Annotated[Float32, Axes(("evaluation",), 0, 1)]
    """(evaluation): mean binary entropy of alpha, in bits: 1 where all alphas are 0.5, 0 where all are 0 or 1."""
    bimodality: Annotated[Float32, Axes(("evaluation",))]
    """(evaluation): Sarle's bimodality coefficient of the alphas; above 5/9, that of a uniform distribution, they lean
    to two ends. Gates half open and half closed have (n - 2)(n - 3) / (n^2 - 1) for n heads, 0.90 for 48. 0 where all
    alphas are equal, which have no shape."""
    flips: Annotated[Float32, Axes(("evaluation",), 0)]
    """(evaluation): heads that crossed 0.5 since the evaluation before."""
    settled_step: int | None = Field(ge=0)
    """First evaluated step from which on at least 90% of the heads are decided; None if there is none."""
    late_flips: int | None = Field(ge=0)
    """Crossings of 0.5 in the last quarter of the scheduled steps; None where the fit stopped before that."""

    @property
    def whole(self) -> bool:
        """Whether the fit took every scheduled step."""
        return self.steps[-1] >= self.n_steps

    def _facts(self) -> Mapping[str, object]:
        settled = "never" if self.settled_step is None else f"step {self.settled_step}"
        return {
            "task": self.task,
            "seed": self.seed,
            "steps": f"{self.steps[-1]} of {self.n_steps}",
            "undecided at the end": float(self.undecided[-1]),
            "settled": settled,
        }

    def frame(self) -> "pd.DataFrame":
        """One row per evaluation: task, seed, step, undecided, entropy, bimodality, flips."""
        measured = {name: getattr(self, name) for name in ("undecided", "entropy", "bimodality", "flips")}
        return pd.DataFrame({"task": self.task, "seed": self.seed, "step": self.steps, **measured})


SETTLED_SHARE = 0.9
"""Share of the heads that must be decided, from some step on, for a fit to count as settled."""

LATE_SHARE = 0.25
"""Share of the scheduled steps, the last ones, in which a crossing of 0.5 is late."""


def check_convergence(fit: SiteFit) -> Convergence:
    """Measure how binary the alphas of a fit were at each evaluation.

    A fit that was stopped early is measured over the steps it took; what would have come after is not guessed.

    Raises:
        InputError: The fit was never evaluated, as one whose first loss is not finite.

    Reference: arXiv 2507.20906, figure 3; bimodality coefficient: SAS/STAT user's guide, CLUSTER procedure.

    Example:
        >>> import site_lens as sl
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=20)
        >>> fits = sl.fit_site(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), config)
        >>> sl.check_convergence(fits["antonym"]).steps
        (0, 10, 20)
    """
    if not fit.trace.eval_steps:
        raise InputError(f"the fit of {fit.task!r} has no evaluation: its loss was not finite from the start")
    alphas = fit.trace.alphas[:, fit.gates.grid.mask].astype(np.float64)
    steps = np.array(fit.trace.eval_steps)
    undecided = np.mean((alphas > 0.1) & (alphas < 0.9), axis=1)
    open_heads = alphas > 0.5
    flips = np.concatenate([[0], np.sum(open_heads[1:] != open_heads[:-1], axis=1)])
    began = np.concatenate([[-1], steps[:-1]])  # step after which the flips of an evaluation happened
    late = began >= (1 - LATE_SHARE) * fit.config.n_steps
    unsettled = np.flatnonzero(1 - undecided < SETTLED_SHARE)
    settled = fit.trace.eval_steps[unsettled[-1] + 1 if len(unsettled) else 0 :]
    return Convergence(
        task=fit.task,
        seed=fit.seed,
        steps=fit.trace.eval_steps,
        n_steps=fit.config.n_steps,
        n_heads=alphas.shape[1],
        undecided=undecided,
        entropy=binary_entropy(alphas).mean(axis=1),
        bimodality=bimodality(alphas),
        flips=flips,
        settled_step=settled[0] if settled else None,
        late_flips=int(flips[late].sum()) if late.any() else None,
    )


def binary_entropy(alphas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of a coin that falls heads with probability alpha, in bits; 0 at 0 and at 1."""
    from scipy.special import entr

    return np.asarray((entr(alphas) + entr(1 - alphas)) / np.log(2))


def bimodality(alphas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sarle's coefficient of each row, corrected for its size: (skewness^2 + 1) / (excess kurtosis + correction).

    Of many alphas 5/9 for a uniform and 1/3 for a normal distribution, and 1 for two values; of n alphas, half of them
    0 and half 1, (n - 2)(n - 3) / (n^2 - 1): 0.90 for 48 heads. 0 where it is not defined, which is so for equal alphas
    and for fewer than four.
    """
    from scipy.stats import kurtosis, skew

    n = alphas.shape[1]
    coefficient, varied = np.zeros(len(alphas)), np.ptp(alphas, axis=1) > 1e-6
    if n >= 4 and varied.any():
        rows, correction = alphas[varied], 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
        coefficient[varied] = (skew(rows, axis=1, bias=False) ** 2 + 1) / (
            kurtosis(rows, axis=1, bias=False) + correction
        )
    return coefficient
