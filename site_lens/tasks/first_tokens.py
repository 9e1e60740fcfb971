"""First tokens of answers: whether they tell the answers apart, and the accuracy of the best constant token."""

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import Field

from site_lens.records.base import Frozen

LEAST_TOLD_APART = 0.5
"""Share of answers told apart by their first token below which a first token says little of its answer."""
HIGH_CONSTANT = 0.5
"""First-token accuracy of a constant from which on one token begins most of the answers."""


class FirstTokens(Frozen):
    """First tokens of the answers of some rows, under one tokenizer and template."""

    n_rows: int = Field(ge=1)
    n_answers: int = Field(ge=1)
    """Distinct targets."""
    n_tokens: int = Field(ge=1)
    """Distinct first tokens of targets."""
    told_apart: float = Field(ge=0, le=1)
    """How far the first token of a target says which target it is: the share of rows that are right when each first
    token stands for the commonest target it begins, on the scale from 0, what the commonest target alone gives, to 1.
    It is 1 where every target has a first token of its own, and 0 for "$1" to "$9" where all begin with " $"."""
    constant: float = Field(gt=0, le=1)
    """First-token accuracy of the best constant token on these rows."""
    constant_token: str
    """Text of that token; U+FFFD for a part of a character."""

    @classmethod
    def of(cls, targets: Sequence[str], accepted: Sequence[Sequence[int]], text: Callable[[int], str]) -> "FirstTokens":
        """Count first tokens.

        Args:
            targets: The target of each row.
            accepted: First tokens of the accepted answers of each row, that of the target first.
            text: The text of a token.
        """
        n = len(targets)
        begun: dict[int, Counter[str]] = {}
        for target, tokens in zip(targets, accepted, strict=True):
            begun.setdefault(tokens[0], Counter())[target] += 1
        hits = Counter(token for tokens in accepted for token in set(tokens))
        best, n_hits = min(hits.items(), key=lambda each: (-each[1], each[0]))
        commonest = max(Counter(targets).values())
        n_told = sum(max(answers.values()) for answers in begun.values())
        return cls(
            n_rows=n,
            n_answers=len(set(targets)),
            n_tokens=len(begun),
            told_apart=(n_told - commonest) / (n - commonest) if commonest < n else 1.0,
            constant=n_hits / n,
            constant_token=text(best),
        )

    @property
    def tell_apart(self) -> bool:
        """Whether first-token accuracy and a loss on first tokens are about the answers.

        They are not where one token begins most of the answers and first tokens tell less than half of them apart.
        """
        return self.told_apart >= LEAST_TOLD_APART or self.constant < HIGH_CONSTANT

    def __str__(self) -> str:
        tokens = "token" if self.n_tokens == 1 else "tokens"
        return (
            f"{self.n_answers} answers have {self.n_tokens} distinct first {tokens}; the constant "
            f"{self.constant_token!r} is right in {self.constant:.1%} of {self.n_rows} rows"
        )
