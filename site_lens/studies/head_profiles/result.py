"""What heads do: where they look, what they copy, and what their share of a task embedding says."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from site_lens.heads.head_set import Head
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Record
from site_lens.records.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["begin", "input", "answer", "query", "frame"]
PARTS: tuple[Part, ...] = ("begin", "input", "answer", "query", "frame")
"""Parts of a few-shot prompt: BOS; inputs and answers of the demonstrations; the query's input; and the frame, which is
instruction, prefixes and separators, and nearly always the last token itself."""

PATTERNS = ("induction", "previous_token", "duplicate_token")
"""Scores of attention to repeated random tokens, which belong to the model; see `selectors.attention_scores`."""

LEAST_RISE = 1e-3
"""A logit that rises by less is not said to be raised."""

Words = tuple[tuple[tuple[str, ...], ...], ...]
"""(task head token): tokens as text."""

TaskHead = Annotated[Float32, Axes(("task", "head"))]


class HeadProfiles(Record):
    """Some heads, each described on every task."""

    kind: ClassVar[str] = "head_profiles"

    tasks: tuple[str, ...]
    heads: tuple[str, ...]
    alphas: Annotated[Float32, Axes(("task", "head"), 0, 1)]
    """(task head): alpha of the task's fit."""
    attention: Annotated[Float32, Axes(("task", "head", "part"), 0, 1)]
    """(task head part): share of the last token's attention that each part of a few-shot prompt gets; see `PARTS`.
    Shares of a head sum to 1."""
    patterns: Annotated[Float32, Axes(("score", "head"), 0, 1)]
    """(score head): attention to repeated random tokens, in [0, 1]; see `PATTERNS`."""
    copying: Annotated[Float32, Axes(("head",))] | None
    """(head): in [-1, 1], positive where attending to a token makes that same token more probable; see
    `models.weights.copying_scores`. None where the weights cannot be read."""
    copying_missing: str = ""
    """Why there is none."""
    answer_gain: TaskHead
    """(task head): change of the right answer's log-probability in zero-shot queries, in nats, when the head's share of
    the task embedding alone is injected, alpha 1."""
    promoted: Annotated[Float32, Axes(("task", "head", "token"))]
    """(task head token): the largest mean changes of a logit under that injection, falling; each query's logits are
    taken less their mean over the vocabulary."""
    promoted_tokens: Words
    """Which tokens these are."""
    written: Annotated[Float32, Axes(("task", "head", "token"))]
    """(task head token): the largest logits, falling, when the head's share of the embedding alone passes the final
    norm and the unembedding with no layer between, less their mean over the vocabulary. That is its direct effect; what
    later layers make of it is not there. Compare with `promoted`."""
    written_tokens: Words
    """Which tokens these are."""
    n_prompts: Count
    n_shots: Count
    seed: Count
    fit_digests: tuple[str, ...]
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a reader should know of the fits: made on other rows, other weights, and the like."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        cells = (len(self.tasks), len(self.heads))
        wanted = {
            "alphas": cells,
            "attention": (*cells, len(PARTS)),
            "patterns": (len(PATTERNS), len(self.heads)),
            "answer_gain": cells,
            "promoted": (*cells, self.promoted.shape[-1]),
            "written": (*cells, self.promoted.shape[-1]),
        }
        wrong = {name: getattr(self, name).shape for name in wanted if getattr(self, name).shape != wanted[name]}
        if self.copying is not None and self.copying.shape != cells[1:]:
            wrong["copying"] = self.copying.shape
        if wrong or not all(cells) or any(len(set(names)) < len(names) for names in (self.tasks, self.heads)):
            raise ValueError(f"{cells[0]} tasks and {cells[1]} heads, each once, do not fit {wrong or 'none'}")
        if (self.copying is None) != bool(self.copying_missing):
            raise ValueError("needs copying scores, or why there are none")
        if np.abs(self.attention.sum(-1) - 1).max() > 1e-4:
            raise ValueError("shares of attention do not sum to 1")
        for name, words in (("promoted_tokens", self.promoted_tokens), ("written_tokens", self.written_tokens)):
            if np.shape(words) != self.promoted.shape:
                raise ValueError(f"{name} of shape {np.shape(words)} do not fit {self.promoted.shape}")
        strangers = [name for name in self.heads if Head.parse(name) not in self.model.grid]
        if strangers:
            raise ValueError(f"{strangers[0]} is not in a grid of {self.model.grid}")
        return self

    def shares(self, task: str | None = None) -> Float32:
        """(head part): shares of attention on one task, or their mean over tasks."""
        if task is not None and task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        found: Float32 = self.attention.mean(0) if task is None else self.attention[self.tasks.index(task)]
        return found

    def frame(self) -> "pd.DataFrame":
        """One row per task and head: alpha, shares of attention, pattern scores, copying, gain, tokens."""
        import pandas as pd

        rows = []
        for i, task in enumerate(self.tasks):
            for j, head in enumerate(self.heads):
                seen = {f"to_{part}": float(share) for part, share in zip(PARTS, self.attention[i, j], strict=True)}
                scores = {name: float(self.patterns[s, j]) for s, name in enumerate(PATTERNS)}
                promoted = _raised(self.promoted_tokens[i][j], self.promoted[i, j])
                written = _raised(self.written_tokens[i][j], self.written[i, j])
                rows.append(
                    {"task": task, "head": head, "alpha": float(self.alphas[i, j]), **seen, **scores,
                     "copying": None if self.copying is None else float(self.copying[j]),
                     "answer_gain": float(self.answer_gain[i, j]), "promoted": promoted, "written": written}
                )  # fmt: skip
        return pd.DataFrame(rows)


def _raised(tokens: tuple[str, ...], logits: Float32) -> tuple[str, ...]:
    """Keep the tokens whose logit was raised at all."""
    return tuple(token for token, logit in zip(tokens, logits, strict=True) if logit > LEAST_RISE)
