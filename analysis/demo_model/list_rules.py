"""Rules from a list of words to an answer that the demo model was trained on, as ways to draw a list and its answer."""

import random
from collections.abc import Callable, Mapping
from functools import partial

from analysis.demo_model.lexical_rules import ALL_ADJECTIVES, ALL_VERBS, COUNTRY_NAMES, lexical_pairs
from analysis.demo_model.several_words import several_word_lists
from analysis.demo_model.words import NOUNS, NUMBERS

Drawn = tuple[list[str], str]
"""The words of a list, and its answer."""

ListRule = Callable[[random.Random], Drawn]

CATEGORIES: Mapping[str, tuple[str, ...]] = NOUNS | {
    "verb": ALL_VERBS,
    "adjective": ALL_ADJECTIVES,
    "country": COUNTRY_NAMES,
    "number": NUMBERS,
}
"""Words of lists by category; no word is in two, so a category can tell one word of a list from the others."""

PICKED = (
    *("animal", "fruit", "color", "body", "clothing", "vehicle"),
    *("job", "verb", "adjective", "country", "number", "food"),
)
"""Categories that the model was trained to pick; words of the others only stand beside them."""

_LIST_WORDS = tuple(sorted(word for words in CATEGORIES.values() for word in words))
_CAPITALIZED = dict(lexical_pairs()["letters_numbers"]["capitalize"])
_TRANSLATIONS = lexical_pairs()["translation"]
_FRENCH = dict(_TRANSLATIONS["english-french"])


def _one_of_each(rng: random.Random, categories: list[str]) -> list[str]:
    return [rng.choice(CATEGORIES[category]) for category in categories]


def _mixed_words(rng: random.Random, n_words: int) -> list[str]:
    """Draw words as one of the other list rules would, so that the words alone do not tell the rule.

    The shares are those of the demo model's training.
    """
    kind = rng.random()
    if kind < 0.2:
        return _one_of_each(rng, rng.sample(PICKED, n_words))
    if kind < 0.3:
        return rng.sample(NUMBERS, n_words)
    if kind < 0.4:
        return _odd_one_out(rng, n_words)[0]
    return rng.sample(_LIST_WORDS, n_words)


def _choose(rng: random.Random, n_words: int, *, index: int) -> Drawn:
    words = _mixed_words(rng, n_words)
    return words, words[index]


def _pick(rng: random.Random, n_words: int, *, category: str) -> Drawn:
    """Put one word of the category among words of other categories, all different."""
    answer = rng.choice(CATEGORIES[category])
    # 70%, as in training: mostly the other picked categories, so that no category is always the answer.
    beside = [other for other in (PICKED if rng.random() < 0.7 else CATEGORIES) if other != category]
    words = _one_of_each(rng, rng.sample(beside, n_words - 1))
    words.insert(rng.randrange(n_words), answer)
    return words, answer


def _odd_one_out(rng: random.Random, n_words: int) -> Drawn:
    """Put one word of a category among words of one other category."""
    common, odd = rng.sample(list(CATEGORIES), 2)
    words, answer = rng.sample(CATEGORIES[common], n_words - 1), rng.choice(CATEGORIES[odd])
    words.insert(rng.randrange(n_words), answer)
    return words, answer


def _by_alphabet(rng: random.Random, n_words: int, *, index: int) -> Drawn:
    """Draw words of which no two begin with the same letter, so that the first letters decide."""
    while True:
        words = rng.sample(_LIST_WORDS, n_words)
        if len({word[0].lower() for word in words}) == n_words:
            return words, sorted(words, key=str.lower)[index]


def _by_size(rng: random.Random, n_words: int, *, index: int) -> Drawn:
    words = rng.sample(NUMBERS, n_words)
    return words, sorted(words, key=NUMBERS.index)[index]


def _choose_and_change(rng: random.Random, n_words: int, *, index: int, change: Mapping[str, str]) -> Drawn:
    words = rng.sample(list(change), n_words)
    return words, change[words[index]]


def _position_rules() -> dict[str, ListRule]:
    ends = {"first": 0, "last": -1}
    return {
        **{f"choose_{end}_of_{n}": partial(_choose, n_words=n, index=ends[end]) for n in (3, 5) for end in ends},
        **{f"choose_middle_of_{n}": partial(_choose, n_words=n, index=n // 2) for n in (3, 5)},
        "choose_second_of_5": partial(_choose, n_words=5, index=1),
        **{
            f"capitalize_{end}_of_3": partial(_choose_and_change, n_words=3, index=ends[end], change=_CAPITALIZED)
            for end in ends
        },
        "french_first_of_3": partial(_choose_and_change, n_words=3, index=0, change=_FRENCH),
        "alphabetically_first_3": partial(_by_alphabet, n_words=3, index=0),
        "alphabetically_first_5": partial(_by_alphabet, n_words=5, index=0),
        "alphabetically_last_3": partial(_by_alphabet, n_words=3, index=-1),
    }


def _size_rules() -> dict[str, ListRule]:
    return {
        f"{which}_number_{n}": partial(_by_size, n_words=n, index=index)
        for n in (3, 5)
        for which, index in (("largest", -1), ("smallest", 0))
    }


def _category_rules() -> dict[str, ListRule]:
    return {
        **{f"odd_one_out_{n}": partial(_odd_one_out, n_words=n) for n in (3, 5)},
        **{f"pick_{category}_{n}": partial(_pick, n_words=n, category=category) for n in (3, 5) for category in PICKED},
    }


def list_rules() -> dict[str, dict[str, ListRule]]:
    """Return every rule by family and name; the number at the end of a name is the number of words of its lists."""
    return {
        "letters_numbers": _size_rules(),
        "choose_by_position": _position_rules(),
        "pick_by_category": _category_rules(),
        "several_words": several_word_lists(
            _LIST_WORDS, {name: dict(_TRANSLATIONS[name]) for name in ("english-french", "english-spanish")}
        ),
    }
