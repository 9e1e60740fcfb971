"""Head profiles: where heads look, what they copy, and what their share of a task embedding says."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from site_lens.records.base import Axes, Count, Float32, Lengths
from site_lens.records.lazy_pandas import pd
from site_lens.studies.base import ModelStudy, index_of, tidy

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


class HeadProfiles(ModelStudy):
    """Some heads, each described on every task."""

    kind: ClassVar[str] = "head_profiles"
    lengths: ClassVar[Lengths] = {"part": len(PARTS), "score": len(PATTERNS), "fit_digests": "task"}

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
    answer_gain: Annotated[Float32, Axes(("task", "head"))]
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

    def shares(self, task: str | None = None) -> Float32:
        """(head part): shares of attention on one task, or their mean over tasks."""
        return self.attention.mean(0) if task is None else self.attention[index_of("task", task, self.tasks)]

    def frame(self) -> "pd.DataFrame":
        """One row per task and head: alpha, shares of attention, pattern scores, copying, gain, tokens."""
        table = tidy(
            {"task": self.tasks, "head": self.heads},
            alpha=self.alphas,
            **{f"to_{part}": self.attention[..., i] for i, part in enumerate(PARTS)},
            **{name: self.patterns[i] for i, name in enumerate(PATTERNS)},
            copying=np.nan if self.copying is None else self.copying,
            answer_gain=self.answer_gain,
        )
        return table.assign(
            promoted=_raised(self.promoted_tokens, self.promoted), written=_raised(self.written_tokens, self.written)
        )


def _raised(words: Words, logits: Float32) -> Any:
    """Return, for every task and head, the tokens whose logit was raised at all."""
    return [raised_tokens(*head) for task in zip(words, logits, strict=True) for head in zip(*task, strict=True)]


def raised_tokens(tokens: Iterable[str], logits: Iterable[float]) -> tuple[str, ...]:
    """Return the tokens whose logit was raised at all."""
    return tuple(token for token, logit in zip(tokens, logits, strict=True) if logit > LEAST_RISE)
