"""Rules from one word to its answer that the demo model was trained on, as all their rows, by family."""

from collections.abc import Iterable, Sequence

from analysis.demo_model.several_words import several_word_pairs
from analysis.demo_model.word_tables import COUNTRIES, NO_WORD, WORDS
from analysis.demo_model.words import (
    ADJECTIVE_NOUNS,
    ADVERBS,
    AGENTS,
    ANIMAL_HABITATS,
    ANIMAL_SOUNDS,
    ANIMAL_YOUNG,
    ANTONYM_ADJECTIVES,
    COMPARISONS,
    DAYS,
    IRREGULAR_PLURALS,
    JOB_PLACES,
    JOB_TOOLS,
    LETTERS,
    MONTHS,
    NOUNS,
    NUMBERS,
    OBJECT_COLORS,
    OBJECT_MATERIALS,
    OTHER_ANTONYMS,
    SYNONYMS,
    VERBS,
    WITHOUT_PLURAL,
    Pair,
)

Pairs = tuple[Pair, ...]


def _union(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for group in groups for word in group))


ALL_NOUNS = _union(*NOUNS.values())
ALL_ADJECTIVES = tuple(
    word
    for word in _union(
        (row.adjective for row in COMPARISONS), (x for x, _ in ADVERBS), *zip(*ANTONYM_ADJECTIVES, strict=True)
    )
    if word not in ALL_NOUNS
)
"""Adjectives that are no nouns here."""
ALL_VERBS = tuple(row.present for row in VERBS if row.present not in ALL_NOUNS + ALL_ADJECTIVES)
"""Verbs that are neither nouns nor adjectives here."""
COUNTRY_NAMES = tuple(row.country for row in COUNTRIES)


def _distinct(pairs: Iterable[Pair]) -> Pairs:
    """Keep the first row of each input, and no row that a copy of the input would answer."""
    kept: dict[str, str] = {}
    for x, y in pairs:
        if x != y:
            kept.setdefault(x, y)
    return tuple(kept.items())


def _swapped(pairs: Pairs) -> Pairs:
    return _distinct((y, x) for x, y in pairs)


def _between_columns(rows: Sequence[tuple[str, ...]], *names: str) -> dict[str, Pairs]:
    """Make a task of each name "source-target" from two fields of the rows."""
    tasks = {}
    for name in names:
        source, target = name.split("-")
        cells = [(getattr(row, source), getattr(row, target)) for row in rows]
        tasks[name] = _distinct(pair for pair in cells if NO_WORD not in pair)
    return tasks


def _steps(words: Sequence[str], step: int, *, cyclic: bool = False) -> Pairs:
    """Pair each word of a sequence with the one `step` further on, where there is one or the sequence goes round."""
    n = len(words)
    return tuple((words[i], words[(i + step) % n]) for i in range(n) if cyclic or 0 <= i + step < n)


def _plural(noun: str) -> str:
    if noun.endswith(("s", "sh", "ch", "x")) or noun in ("potato", "tomato", "mango"):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _plurals() -> Pairs:
    irregular = dict(IRREGULAR_PLURALS)
    # Colors are left out: as nouns they have a plural, but the lists use them as adjectives.
    counted = [noun for noun in ALL_NOUNS if noun not in WITHOUT_PLURAL and noun not in NOUNS["color"]]
    return _distinct([*((noun, irregular.get(noun) or _plural(noun)) for noun in counted), *IRREGULAR_PLURALS])


def _relations() -> dict[str, Pairs]:
    opposites = ANTONYM_ADJECTIVES + OTHER_ANTONYMS
    antonym = _distinct(opposites + _swapped(opposites))
    opposite, comparative = dict(antonym), {row.adjective: row.comparative for row in COMPARISONS}
    category = {noun: name for name, nouns in NOUNS.items() for noun in nouns}
    return {
        "antonym": antonym,
        "synonym": _distinct(SYNONYMS),
        "object-category": _distinct(category.items()),
        "plural-category": _distinct((many, category[one]) for one, many in _plurals() if one in category),
        "object-material": _distinct(OBJECT_MATERIALS),
        "object-color": _distinct(OBJECT_COLORS),
        "animal-young": _distinct(ANIMAL_YOUNG),
        "animal-sound": _distinct(ANIMAL_SOUNDS),
        "animal-habitat": _distinct(ANIMAL_HABITATS),
        "job-place": _distinct(JOB_PLACES),
        "job-tool": _distinct(JOB_TOOLS),
        "comparative-antonym": _distinct(
            (more, comparative[opposite[plain]])
            for plain, more in comparative.items()
            if opposite.get(plain) in comparative
        ),
    }


def _translations() -> dict[str, Pairs]:
    tasks = _between_columns(
        WORDS,
        *("english-french", "english-spanish", "english-german", "english-italian"),
        *("french-english", "spanish-english", "german-english", "italian-english"),
        *("french-spanish", "french-german", "spanish-french", "spanish-italian"),
        *("german-french", "italian-german", "italian-french"),
    )
    french = dict(tasks["english-french"])
    plural_french = _distinct((many, french[one]) for one, many in _plurals() if one in french)
    return tasks | {"plural-french": plural_french}


def _morphology() -> dict[str, Pairs]:
    return {
        "singular-plural": _plurals(),
        "plural-singular": _swapped(_plurals()),
        **_between_columns(
            VERBS,
            *("present-past", "present-gerund", "present-third", "present-participle", "past-present"),
            *("past-gerund", "past-third", "gerund-present", "gerund-past"),
        ),
        **_between_columns(
            COMPARISONS,
            *("adjective-comparative", "adjective-superlative"),
            *("comparative-adjective", "comparative-superlative"),
        ),
        "adjective-adverb": _distinct(ADVERBS),
        "adjective-noun": _distinct(ADJECTIVE_NOUNS),
        "verb-agent": _distinct(AGENTS),
    }


def _facts() -> dict[str, Pairs]:
    return _between_columns(
        COUNTRIES,
        *("country-capital", "country-language", "country-continent", "country-currency", "country-nationality"),
        *("capital-country", "capital-language", "capital-continent", "capital-currency"),
    )


def _letters_and_numbers() -> dict[str, Pairs]:
    plain = ALL_NOUNS + ALL_ADJECTIVES + ALL_VERBS
    # The capitals of these words alone are in the vocabulary of the demo model.
    capitalized = ALL_NOUNS[:200] + ALL_ADJECTIVES[:70] + ALL_VERBS[:50]
    sequences = [(NUMBERS, False), (DAYS, True), (MONTHS, True), (LETTERS, False)]
    return {
        "capitalize": _distinct((word, word.capitalize()) for word in capitalized),
        "first_letter": tuple((word, word[0]) for word in plain),
        "last_letter": tuple((word, word[-1]) for word in plain),
        "word_length": tuple((word, str(len(word))) for word in plain),
        "copy": tuple((word, word) for word in plain + COUNTRY_NAMES + NUMBERS + MONTHS),
        "next_item": tuple(pair for words, cyclic in sequences for pair in _steps(words, 1, cyclic=cyclic)),
        "prev_item": tuple(pair for words, cyclic in sequences for pair in _steps(words, -1, cyclic=cyclic)),
        "number-next": _steps(NUMBERS, 1),
        "number-prev": _steps(NUMBERS, -1),
        "number-plus-two": _steps(NUMBERS, 2),
        "number-minus-two": _steps(NUMBERS, -2),
        "number-digit": tuple((word, str(i)) for i, word in enumerate(NUMBERS)),
        "letter-upper": tuple((letter, letter.upper()) for letter in LETTERS),
        "letter-next": _steps(LETTERS, 1),
        # May is its own abbreviation.
        "date-abbrev": tuple((word, word[:3]) for word in DAYS + MONTHS if word != "May"),
    }


def lexical_pairs() -> dict[str, dict[str, Pairs]]:
    """Return all rows of every rule, by family and name.

    Names with a hyphen say "input-output"; a name is the paper's where the rule is the same. Rules too small for
    a task are among them, since the model was trained on them too.
    """
    return {
        "relations": _relations(),
        "translation": _translations(),
        "morphology": _morphology(),
        "facts": _facts(),
        "letters_numbers": _letters_and_numbers(),
        "several_words": several_word_pairs(ALL_NOUNS),
    }
