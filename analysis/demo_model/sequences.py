"""Training sequences of the demo model: tokens, the loss weight of each, and which example each belongs to."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerFast

from site_lens.tasks.prompt_template import PromptTemplate

FIRST_ANSWER_WEIGHT = 0.2
"""Loss weight of the answer without demonstrations: it can only be guessed, but a model should know what is common."""
END_WEIGHT = 0.3
"""Loss weight of the end of an answer, which is easy and would otherwise count as much as the answer."""

OTHER_TEMPLATES = (
    PromptTemplate(input_prefix="Input:", output_prefix="Output:"),
    PromptTemplate(input_prefix="", input_separator=" ", output_prefix="->", output_separator="\n", digit_rule=False),
    PromptTemplate(input_prefix="", input_separator=" ", output_prefix="=", output_separator="\n", digit_rule=False),
)
"""Templates shown now and then beside the default one."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One example of a sequence."""

    x: str
    y: str
    weight: float = 1.0
    """Loss weight of the answer."""


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """Tokens of one training sequence and, one entry a token, what training needs to know of them."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    """Loss weight of predicting the token from those before it."""
    examples: list[int] = field(default_factory=list)
    """Index of the example of the token; -1 for BOS."""
    in_query: list[bool] = field(default_factory=list)
    """Whether the token is BOS or belongs to the input of its example, not to what comes behind."""

    def add(self, ids: Sequence[int], weight: float, example: int, *, in_query: bool) -> None:
        """Append tokens that share all the rest."""
        self.ids.extend(ids)
        self.weights.extend([weight] * len(ids))
        self.examples.extend([example] * len(ids))
        self.in_query.extend([in_query] * len(ids))


class SequenceWriter:
    """Writes examples as tokens, word by word and remembered, which is a hundred times faster than the tokenizer.

    Args:
        tokenizer: Tokenizer of the demo model; it never joins text across a comma, a space or a template's seams.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._bos: int = tokenizer.convert_tokens_to_ids(tokenizer.bos_token)

    def ids(self, text: str) -> list[int]:
        """Tokenise a text without BOS."""
        first, *others = text.split(",")
        found = list(self._remembered(first))
        for part in others:
            found += self._remembered(",")
            found += self._remembered(part)
        return found

    def _remembered(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer(text, add_special_tokens=False).input_ids
        return self._known[text]

    def write(self, shots: Iterable[Shot], template: PromptTemplate, *, bos: bool = True) -> TrainingSequence:
        """Write examples one after the other, with a loss on every answer and its end.

        The first answer weighs little. What the tokens are is what the tokenizer makes of the rendered text.
        """
        sequence = TrainingSequence()
        if bos:
            sequence.add([self._bos], 0.0, -1, in_query=True)
        for i, shot in enumerate(shots):
            weight = shot.weight * (FIRST_ANSWER_WEIGHT if i == 0 else 1.0)
            sequence.add(self.ids(template.input_prefix) + self.ids(template.input_text(shot.x)), 0.0, i, in_query=True)
            sequence.add(self.ids(template.input_separator + template.output_prefix), 0.0, i, in_query=False)
            sequence.add(self.ids(template.answer_text(shot.y)), weight, i, in_query=False)
            sequence.add(self.ids(template.output_separator), weight * END_WEIGHT, i, in_query=False)
        return sequence


def random_mapping(rng: random.Random, words: Sequence[str], *, n_pairs: int, n_shots: int) -> list[Shot]:
    """Draw fresh pairs of words and show them again and again: only the context says what answers what.

    The answer to a word that was not shown before has no loss.
    """
    drawn = rng.sample(words, 2 * n_pairs)
    pairs = list(zip(drawn[:n_pairs], drawn[n_pairs:], strict=True))
    shown: set[str] = set()
    shots = []
    for _ in range(n_shots):
        x, y = rng.choice(pairs)
        shots.append(Shot(x, y, float(x in shown)))
        shown.add(x)
    return shots


def repeated_tokens(
    rng: random.Random, tokens: Sequence[int], *, bos: int, period: int, n_tokens: int, weight: float
) -> TrainingSequence:
    """Draw a block of random tokens and repeat it, with a loss from the second round on."""
    block = [rng.choice(tokens) for _ in range(period)]
    sequence = TrainingSequence()
    sequence.add([bos], 0.0, -1, in_query=True)
    for i in range(n_tokens):
        sequence.add([block[i % period]], weight if i >= period else 0.0, i, in_query=False)
    return sequence
