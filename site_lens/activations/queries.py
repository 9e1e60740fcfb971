"""Queries: tokens of prompts, and the first tokens of their accepted answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from site_lens.models.base import LensModel
from site_lens.records.errors import InputError, ModelError
from site_lens.tasks.first_tokens import FirstTokens
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Example


@dataclass(frozen=True, slots=True)
class Queries:
    """Prompts to be answered with one token."""

    ids: list[list[int]]
    """Tokens of each prompt."""
    accepted: list[list[int]]
    """First tokens of every accepted answer of each prompt; the first of them is the target."""
    notes: tuple[str, ...] = ()
    """Caveats of the answers."""

    @classmethod
    def of(cls, model: LensModel, prompts: Sequence[Prompt]) -> Self:
        """Tokenise prompts and their answers.

        Raises:
            InputError: A prompt exceeds the context.
        """
        pairs = [(prompt.text, answer) for prompt in prompts for answer in prompt.answers]
        texts, answers = [text for text, _ in pairs], [answer for _, answer in pairs]
        rows, tokens, merged = model.encoder.encode_answers(texts, answers)
        firsts = iter(row[0] for row in tokens)
        accepted = [[next(firsts) for _ in prompt.answers] for prompt in prompts]
        ids_of = dict(zip(texts, rows, strict=True))
        return cls([ids_of[prompt.text] for prompt in prompts], accepted, _notes(prompts, accepted, merged))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt."""
        return [len(row) for row in self.ids]

    def only(self, chosen: Sequence[int]) -> Self:
        """Keep some of the queries, in this order."""
        return type(self)([self.ids[i] for i in chosen], [self.accepted[i] for i in chosen], self.notes)

    def tail(self, device: torch.device) -> Int[Tensor, "row 1"]:
        """Return the last token of every prompt."""
        return torch.tensor([[row[-1]] for row in self.ids], device=device)

    def targets(self, device: torch.device) -> Int[Tensor, " row"]:
        """Return the first token of every target."""
        return torch.tensor([tokens[0] for tokens in self.accepted], device=device)

    def right(self, logits: Float[Tensor, "*variant row vocab"]) -> Bool[Tensor, "*variant row"]:
        """Tell of each row whether the most probable token begins an accepted answer."""
        best = logits.argmax(-1)
        width = max(map(len, self.accepted))
        padded = [tokens + tokens[:1] * (width - len(tokens)) for tokens in self.accepted]
        return (best[..., None] == torch.tensor(padded, device=logits.device)).any(-1)


def nonfinite_logits(model: LensModel, ids: Sequence[int]) -> ModelError:
    """Return the error that a model gives logits that are not finite behind some tokens."""
    return ModelError(
        f"{model.identity.name} gives logits that are not finite in {model.identity.dtype} for the prompt that ends in "
        f"{model.encoder.decode(list(ids))[-40:]!r}; use dtype='float32' or 'bfloat16', or leave its row out"
    )


def first_tokens(model: LensModel, rows: Sequence[Example], template: PromptTemplate | None = None) -> FirstTokens:
    """Measure whether the first tokens of answers tell the answers apart, as the model's tokenizer has them.

    Args:
        model: The model; nothing of it but the tokenizer is used.
        rows: Rows of a task, such as `task.test`.
        template: How examples become text; the paper's when None.

    Raises:
        InputError: There are no rows, or an answer adds no token to its prompt.

    Example:
        >>> import site_lens as sl
        >>> rows = [sl.Example(f"{i} coins", (f"sum of {i}",)) for i in range(9)]
        >>> found = sl.first_tokens(sl.load_model("demo"), rows)
        >>> found.n_answers, found.n_tokens, found.constant, found.tell_apart
        (9, 1, 1.0, False)
    """
    if not rows:
        raise InputError("rows is empty; give some rows of a task")
    queries = Queries.of(model, zero_shot_prompts(rows, template or PromptTemplate()))
    return FirstTokens.of([row.output for row in rows], queries.accepted, lambda token: model.encoder.texts([token])[0])


def _notes(prompts: Sequence[Prompt], accepted: Sequence[Sequence[int]], merged: int) -> tuple[str, ...]:
    notes = []
    if merged:
        notes.append(f"{merged} answers share a token with the end of their prompt; first tokens are approximate")
    begun_by: dict[int, set[str]] = {}
    for prompt, tokens in zip(prompts, accepted, strict=True):
        begun_by.setdefault(tokens[0], set()).add(prompt.answer)
    alike = sum(len(answers) for answers in begun_by.values() if len(answers) > 1)
    if alike:
        notes.append(f"{alike} answers begin with the token of a different answer: first_token takes one for the other")
    return tuple(notes)
