"""Task embeddings: mean and spread of the head outputs of a task."""

from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, LayerHeadD, Record
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.lazy_pandas import pd
from site_lens.tasks.prompt_sampling import prompts_of_embedding, prompts_of_rows
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task

NO_SEED = -1
"""Seed of an embedding whose prompts were not drawn by a seed."""


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
    """Seed of the prompts; -1 where their rows were given, or are not known."""
    template: PromptTemplate
    """How queries are asked."""
    instruction: str = ""
    """Text before each of its prompts that queries go without; see `capture_embeddings`."""
    task_digest: str
    labelled_rows: tuple[Count, ...]
    """Rows of train whose labels the prompts showed."""
    prompt_rows: Annotated[Float32, Axes(("prompt", "row"))] | None = None
    """(prompt row): rows of train in each prompt, demonstrations in order and the query last; None in files of
    site_lens 0.1, and where they are not known or not those of one task."""
    model: ModelIdentity

    @model_serializer(mode="wrap")
    def _only_what_is_known(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out unknown rows and an empty instruction, so that the first records keep their digests."""
        fields: dict[str, Any] = write(self)
        absent = {"prompt_rows": self.prompt_rows is None, "instruction": not self.instruction}
        return {name: value for name, value in fields.items() if not absent.get(name)}

    @property
    def prompt_template(self) -> PromptTemplate:
        """How its own prompts were written: the template, and the instruction in front."""
        return self.template.behind(self.instruction)

    def prompts(self, task: Task) -> tuple[Prompt, ...]:
        """Render the prompts whose mean z the embedding is, in their order.

        Args:
            task: The task that it was made of, with the same rows.

        Raises:
            MismatchError: The embedding was made of other rows.
            InputError: The rows of its prompts are not known.
        """
        if task.digest != self.task_digest:
            raise MismatchError(f"the embedding of {self.task!r} was not made of the rows of task {task.name!r} here")
        if self.prompt_rows is not None:
            return prompts_of_rows(task, self.prompt_template, self.prompt_rows.astype(int).tolist()).prompts
        if self.seed == NO_SEED:
            raise InputError(f"the rows of the prompts behind the embedding of {self.task!r} are not known")
        return prompts_of_embedding(
            task, self.prompt_template, n_prompts=self.n_prompts, n_shots=self.n_shots, seed=self.seed
        ).prompts

    def zeros(self) -> Self:
        """Return the same record with a mean of zero: gates alone, without the content."""
        return self.replace(mean=np.zeros_like(self.mean), spread=np.zeros_like(self.spread))

    def frame(self) -> "pd.DataFrame":
        """One row per head: layer, head, norm of the mean z, root mean square of its spread."""
        norm, spread = np.linalg.norm(self.mean, axis=-1), np.sqrt(np.mean(self.spread**2, axis=-1))
        rows = [(h.layer, h.head, norm[h.layer, h.head], spread[h.layer, h.head]) for h in self.model.grid]
        return pd.DataFrame(rows, columns=["layer", "head", "norm", "spread"])
