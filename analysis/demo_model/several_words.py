"""Rules of the demo model whose answers are several words, so several tokens: answers that must be matched whole."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from analysis.demo_model.word_tables import COUNTRIES
from analysis.demo_model.words import NUMBERS, VERBS, Pair

Pairs = tuple[Pair, ...]
Drawn = tuple[list[str], str]

_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _number_in_words(number: int) -> str:
    """Write a number from 21 to 99 in words, without a hyphen."""
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f" {NUMBERS[ones]}" if ones else "")


def several_word_pairs(nouns: Sequence[str]) -> dict[str, Pairs]:
    """Return all rows of the rules from one thing to several words, by name.

    Args:
        nouns: Words to say twice.
    """
    numbers = [(str(number), _number_in_words(number)) for number in range(21, 100)]
    return {
        "word-twice": tuple((noun, f"{noun} {noun}") for noun in nouns),
        "country-capital_language": tuple((row.country, f"{row.capital}, {row.language}") for row in COUNTRIES),
        "country-capital_continent": tuple((row.country, f"{row.capital}, {row.continent}") for row in COUNTRIES),
        "present-past_participle": tuple((row.present, f"{row.past}, {row.participle}") for row in VERBS),
        "digits-words": tuple(numbers),
        "words-digits": tuple((words, digits) for digits, words in numbers),
    }


def _some_of(rng: random.Random, words: Sequence[str], *, n_words: int, kept: slice) -> Drawn:
    drawn = rng.sample(words, n_words)
    return drawn, ", ".join(drawn[kept])


def _each_changed(rng: random.Random, change: Mapping[str, str], *, n_words: int) -> Drawn:
    drawn = rng.sample(list(change), n_words)
    return drawn, ", ".join(change[word] for word in drawn)


def several_word_lists(
    words: Sequence[str], changes: Mapping[str, Mapping[str, str]]
) -> dict[str, Callable[[random.Random], Drawn]]:
    """Return the rules from a list to several of its words, by name; the number at the end is that of the words.

    Args:
        words: Words of the lists.
        changes: By name of a rule, what becomes of each word of its lists of two.
    """

    def some_of(n_words: int, kept: slice) -> Callable[[random.Random], Drawn]:
        return partial(_some_of, words=words, n_words=n_words, kept=kept)

    return {
        "reverse_2": some_of(2, slice(None, None, -1)),
        "reverse_3": some_of(3, slice(None, None, -1)),
        "first_two_of_3": some_of(3, slice(0, 2)),
        "last_two_of_3": some_of(3, slice(1, 3)),
        **{f"{name}_2": partial(_each_changed, change=change, n_words=2) for name, change in changes.items()},
    }
