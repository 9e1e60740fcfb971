"""How far the gates of a fit became binary, step by step."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from site_lens.core.records import Axes, Count, Float32, Record

if TYPE_CHECKING:
    import pandas as pd

Evaluated = Annotated[Float32, Axes(("evaluation",))]


class Convergence(Record):
    """Convergence to binary gates over the steps of one fit; every figure is over all heads."""

    kind: ClassVar[str] = "convergence"

    task: str
    seed: Count
    steps: tuple[Count, ...]
    """Steps taken before each evaluation; the first is 0."""
    n_steps: int = Field(ge=1)
    """Steps that the fit was scheduled for."""
    n_heads: int = Field(ge=1)
    undecided: Annotated[Float32, Axes(("evaluation",), 0, 1)]
    """(evaluation): share of the heads with 0.1 < alpha < 0.9."""
    entropy: Annotated[Float32, Axes(("evaluation",), 0, 1)]
    """(evaluation): mean binary entropy of alpha, in bits: 1 where all alphas are 0.5, 0 where all are 0 or 1."""
    bimodality: Evaluated
    """(evaluation): Sarle's bimodality coefficient of the alphas; above 5/9, that of a uniform distribution, they lean
    to two ends. Gates half open and half closed have (n - 2)(n - 3) / (n^2 - 1) for n heads, 0.90 for 48. 0 where all
    alphas are equal, which have no shape."""
    flips: Annotated[Float32, Axes(("evaluation",), 0)]
    """(evaluation): heads that crossed 0.5 since the evaluation before."""
    settled_step: int | None = Field(ge=0)
    """First evaluated step from which on at least 90% of the heads are decided; None if there is none."""
    late_flips: int | None = Field(ge=0)
    """Crossings of 0.5 in the last quarter of the scheduled steps; None where the fit stopped before that."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        lengths = {len(part) for part in (self.steps, self.undecided, self.entropy, self.bimodality, self.flips)}
        if len(lengths) != 1 or not self.steps:
            raise ValueError(f"needs as many figures as evaluations, at least one; got lengths {sorted(lengths)}")
        return self

    @property
    def whole(self) -> bool:
        """Whether the fit took every scheduled step."""
        return self.steps[-1] >= self.n_steps

    def frame(self) -> "pd.DataFrame":
        """One row per evaluation: task, seed, step, undecided, entropy, bimodality, flips."""
        import pandas as pd

        measured = {name: getattr(self, name) for name in ("undecided", "entropy", "bimodality", "flips")}
        return pd.DataFrame({"task": self.task, "seed": self.seed, "step": self.steps, **measured})
