"""Task embeddings: the mean head output of a task, and how much it varied."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.core.prompts import PromptTemplate
from site_lens.core.provenance import ModelIdentity
from site_lens.core.records import Axes, Count, Float32, LayerHeadD, Record

if TYPE_CHECKING:
    import pandas as pd


class TaskEmbedding(Record):
    """Mean z of every head at the last token of few-shot prompts.

    Reference: Park and Rhee, arXiv 2507.20906, section 3: t(l, h) = mean over M prompts of z(l, h) at the last token.
    """

    kind: ClassVar[str] = "task_embedding"

    task: str
    mean: LayerHeadD
    """(layer head d_head): mean z at the last prompt token."""
    spread: Annotated[Float32, Axes(("layer", "head", "d_head"), 0)]
    """(layer head d_head): standard deviation over the prompts; 0 for a single prompt."""
    n_prompts: int = Field(ge=1)
    """M: prompts that were averaged."""
    n_shots: int = Field(ge=0)
    """N: demonstrations in each."""
    seed: int = Field(ge=-1)
    """Seed of the draw of prompts; -1 where it is not known, as of an embedding that the published code made."""
    template: PromptTemplate
    task_digest: str
    labelled_rows: tuple[Count, ...]
    """Rows of train whose labels the prompts showed."""
    model: ModelIdentity

    @model_validator(mode="after")
    def _fits_model(self) -> Self:
        expected = (*self.model.grid.shape, self.model.d_head)
        for name in ("mean", "spread"):
            if getattr(self, name).shape != expected:
                raise ValueError(
                    f"{name} of shape {getattr(self, name).shape} does not fit {self.model.name}, which needs "
                    f"(layer head d_head) = {expected}"
                )
        return self

    def zeros(self) -> Self:
        """Return the same record with a mean of zero: gates alone, without the content."""
        return self.replace(mean=np.zeros_like(self.mean), spread=np.zeros_like(self.spread))

    def frame(self) -> "pd.DataFrame":
        """One row per head: layer, head, norm of the mean z, root mean square of its spread."""
        import pandas as pd

        norm, spread = np.linalg.norm(self.mean, axis=-1), np.sqrt(np.mean(self.spread**2, axis=-1))
        rows = [(h.layer, h.head, norm[h.layer, h.head], spread[h.layer, h.head]) for h in self.model.grid]
        return pd.DataFrame(rows, columns=["layer", "head", "norm", "spread"])
