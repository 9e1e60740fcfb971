from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from analysis.demo_model.build_tasks import tasks_json
from analysis.demo_model.lexical_rules import lexical_pairs
from analysis.demo_model.list_rules import CATEGORIES, list_rules
from analysis.demo_model.tasks import MIN_TEST, MIN_TRAIN, build_demo_tasks
from site_lens.records.assets import DEMO_MODEL, DEMO_TASKS
from site_lens.tasks.prompt_sampling import few_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import SPLITS, Example, Task

TASKS = {task.name: task for task in build_demo_tasks()}
LIST_TASKS = [name for rules in list_rules().values() for name in rules]
LEXICAL_PAIRS = {name: pairs for rules in lexical_pairs().values() for name, pairs in rules.items()}
NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


def rows_of(task: Task) -> list[Example]:
    return [row for split in SPLITS for row in getattr(task, split)]


def category_of(word: str) -> str:
    (found,) = [category for category, words in CATEGORIES.items() if word in words]
    return found


def odd_word(words: list[str]) -> str:
    categories = [category_of(word) for word in words]
    (odd,) = [word for word, category in zip(words, categories, strict=True) if categories.count(category) == 1]
    return odd


def word_of(category: str) -> Callable[[list[str]], str]:
    def answer(words: list[str]) -> str:
        (found,) = [word for word in words if category_of(word) == category]
        return found

    return answer


def each_by(task: str) -> Callable[[list[str]], str]:
    return lambda words: ", ".join(dict(LEXICAL_PAIRS[task])[word] for word in words)


ANSWERS: dict[str, Callable[[list[str]], str]] = {
    "choose_first_of": lambda words: words[0],
    "choose_second_of": lambda words: words[1],
    "choose_middle_of": lambda words: words[len(words) // 2],
    "choose_last_of": lambda words: words[-1],
    "capitalize_first_of": lambda words: words[0].title(),
    "capitalize_last_of": lambda words: words[-1].title(),
    "french_first_of": lambda words: dict(LEXICAL_PAIRS["english-french"])[words[0]],
    "alphabetically_first": lambda words: min(words, key=str.casefold),
    "alphabetically_last": lambda words: max(words, key=str.casefold),
    "largest_number": lambda words: max(words, key=NUMBERS.index),
    "smallest_number": lambda words: min(words, key=NUMBERS.index),
    "odd_one_out": odd_word,
    "reverse": lambda words: ", ".join(reversed(words)),
    "first_two_of": lambda words: ", ".join(words[:2]),
    "last_two_of": lambda words: ", ".join(words[-2:]),
    "english-french": each_by("english-french"),
    "english-spanish": each_by("english-spanish"),
    **{f"pick_{category}": word_of(category) for category in CATEGORIES},
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(DEMO_MODEL)


def test_the_committed_asset_is_what_the_generator_builds() -> None:
    assert DEMO_TASKS.read_bytes().decode() == tasks_json(TASKS.values())


def test_a_task_does_not_depend_on_the_tasks_built_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.demo_model.tasks.lexical_pairs", lambda: {"facts": lexical_pairs()["facts"]})
    monkeypatch.setattr(
        "analysis.demo_model.tasks.list_rules", lambda: {"pick_by_category": list_rules()["pick_by_category"]}
    )
    few = build_demo_tasks()
    assert 0 < len(few) < len(TASKS)
    assert all(task == TASKS[task.name] for task in few)


def test_there_are_at_least_60_tasks_in_eight_families() -> None:
    counts = {
        family: sum(task.family == family for task in TASKS.values()) for family in lexical_pairs() | list_rules()
    }
    assert counts == {
        "relations": 5,
        "translation": 16,
        "morphology": 11,
        "facts": 9,
        "letters_numbers": 11,
        "several_words": 12,
        "choose_by_position": 13,
        "pick_by_category": 26,
    }
    assert sum(counts.values()) == len(TASKS) == len(build_demo_tasks()) >= 60


def test_tasks_of_the_paper_bear_its_names() -> None:
    assert {
        *("antonym", "singular-plural", "present-past", "country-capital", "country-currency", "capitalize"),
        *("english-french", "english-german", "next_item", "alphabetically_first_3", "alphabetically_last_3"),
        *("alphabetically_first_5", "choose_first_of_3", "choose_middle_of_3", "choose_last_of_3"),
        *("choose_first_of_5", "choose_middle_of_5", "choose_last_of_5"),
    } <= TASKS.keys()


def test_no_input_occurs_twice_and_an_audit_finds_no_conflict() -> None:
    for name, task in TASKS.items():
        audit, inputs = task.audit(), [row.input for row in rows_of(task)]
        assert (audit.test_in_train, audit.conflicting_inputs, audit.duplicates) == (0, 0, 0), name
        assert len(inputs) == len(set(inputs)), name


def test_list_tasks_have_160_40_and_100_rows_and_lexical_tasks_split_all_of_their_rule_60_10_30() -> None:
    for name, task in TASKS.items():
        sizes, rows = [len(getattr(task, split)) for split in SPLITS], rows_of(task)
        if name in LIST_TASKS:
            assert sizes == [160, 40, 100], name
            continue
        assert {(row.input, row.output) for row in rows} == set(LEXICAL_PAIRS[name]), name
        assert np.divide(sizes, len(rows)) == pytest.approx([0.6, 0.1, 0.3], abs=0.02), name
        assert sizes[0] >= MIN_TRAIN and sizes[2] >= MIN_TEST, name


def test_lexical_rules_are_left_out_only_for_few_rows() -> None:
    left_out = {name: pairs for name, pairs in LEXICAL_PAIRS.items() if name not in TASKS}
    assert left_out
    assert all(0.3 * len(pairs) <= MIN_TEST - 1 for pairs in left_out.values())


def test_list_answers_follow_the_rule_in_the_name() -> None:
    for name in LIST_TASKS:
        rule, n_words = name.rsplit("_", 1)
        for row in rows_of(TASKS[name]):
            words = row.input.split(", ")
            assert len(set(words)) == int(n_words), name
            assert row.outputs == (ANSWERS[rule](words),), name


def test_the_answer_stands_at_every_position_unless_the_rule_is_a_position() -> None:
    for name in ("choose_last_of_5", "odd_one_out_3", "pick_color_5", "smallest_number_3"):
        positions = {row.input.split(", ").index(row.output) for row in rows_of(TASKS[name])}
        n_words = int(name[-1])
        assert positions == ({n_words - 1} if name.startswith("choose") else set(range(n_words))), name


def test_alphabetical_answers_are_decided_by_first_letters() -> None:
    for name in ("alphabetically_first_3", "alphabetically_last_3", "alphabetically_first_5"):
        for row in rows_of(TASKS[name]):
            letters = [word[0].lower() for word in row.input.split(", ")]
            assert len(set(letters)) == len(letters)


def test_no_word_is_in_two_categories() -> None:
    words = list(chain.from_iterable(CATEGORIES.values()))
    assert len(words) == len(set(words))


def test_spelling_tasks_follow_their_rule() -> None:
    rules: dict[str, Callable[[str], str]] = {
        "first_letter": lambda x: x[0],
        "last_letter": lambda x: x[-1],
        "copy": str,
        "capitalize": str.title,
    }
    for name, rule in rules.items():
        assert all(row.output == rule(row.input) for row in rows_of(TASKS[name])), name


def test_inverse_tasks_undo_each_other() -> None:
    inverses = {
        "english-french": "french-english", "english-german": "german-english", "spanish-french": "french-spanish",
        "country-capital": "capital-country", "singular-plural": "plural-singular", "present-past": "past-present",
        "present-gerund": "gerund-present", "next_item": "prev_item", "antonym": "antonym",
        "digits-words": "words-digits",
    }  # fmt: skip
    for name, inverse in inverses.items():
        assert {(y, x) for x, y in LEXICAL_PAIRS[name]} == set(LEXICAL_PAIRS[inverse]), name


def test_rules_answer_as_a_reader_expects() -> None:
    expected = (
        ("antonym", "cold", "hot"), ("synonym", "big", "large"), ("object-category", "canoe", "vehicle"),
        ("plural-category", "wolves", "animal"), ("english-french", "dress", "robe"),
        ("english-german", "boat", "Boot"), ("spanish-english", "gris", "gray"),
        ("singular-plural", "church", "churches"), ("singular-plural", "strawberry", "strawberries"),
        ("singular-plural", "key", "keys"), ("singular-plural", "knife", "knives"),
        ("present-participle", "sing", "sung"), ("past-third", "went", "goes"), ("country-currency", "Korea", "won"),
        ("capital-continent", "Cairo", "Africa"), ("next_item", "Sunday", "Monday"),
        ("prev_item", "January", "December"), ("comparative-antonym", "hotter", "colder"),
        ("number-digit", "seven", "7"), ("date-abbrev", "Monday", "Mon"), ("word_length", "elephant", "8"),
        ("word-twice", "dog", "dog dog"), ("digits-words", "42", "forty two"), ("digits-words", "90", "ninety"),
        ("words-digits", "ninety nine", "99"), ("country-capital_language", "Japan", "Tokyo, Japanese"),
        ("country-capital_continent", "Japan", "Tokyo, Asia"), ("present-past_participle", "go", "went, gone"),
    )  # fmt: skip
    assert [(name, x, dict(LEXICAL_PAIRS[name])[x]) for name, x, _ in expected] == list(expected)


def test_only_the_copy_task_is_answered_by_a_copy() -> None:
    assert {name for name, pairs in LEXICAL_PAIRS.items() if any(x == y for x, y in pairs)} == {"copy"}


def test_every_word_of_every_rule_is_one_token_of_the_demo_model(tokenizer: PreTrainedTokenizerBase) -> None:
    lexical = {text for pairs in LEXICAL_PAIRS.values() for pair in pairs for text in pair}
    words = {word for text in lexical for word in text.replace(",", "").split()} | set(chain(*CATEGORIES.values()))
    words = {word for word in words if not word.isdecimal()}
    assert [word for word in sorted(words) if len(tokenizer.tokenize(f" {word}")) != 1] == []


def test_answers_are_one_token_but_for_several_words_and_long_numbers(tokenizer: PreTrainedTokenizerBase) -> None:
    template = PromptTemplate()
    several = {
        name
        for name, task in TASKS.items()
        if any(len(tokenizer.tokenize(template.answer_text(row.output))) > 1 for row in rows_of(task))
    }
    assert several == {name for name, task in TASKS.items() if task.family == "several_words"} | {"word_length"}


def test_ten_shot_prompts_fit_read_back_and_their_tokens_begin_those_with_the_answer(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    template = PromptTemplate()
    for name, task in TASKS.items():
        stream = np.random.default_rng(0)
        for prompt in few_shot_prompts(task, task.test[:5], template, n_shots=10, stream=stream).prompts:
            before, text = tokenizer(prompt.text).input_ids, prompt.text + prompt.answer + template.output_separator
            ids = tokenizer(text).input_ids
            assert ids[: len(before)] == before, name
            assert tokenizer.convert_ids_to_tokens(ids).count("A:") == 11, name
            assert tokenizer.convert_ids_to_tokens(ids[-1]) == "\n\n", name
            assert len(ids) <= tokenizer.model_max_length, name
            assert tokenizer.decode(ids, skip_special_tokens=True) == text, name
