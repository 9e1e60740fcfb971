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
from site_lens.tasks.demo_tasks import demo_tasks
from site_lens.tasks.prompt_sampling import few_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import SPLITS, Example, Task

TASKS = {task.name: task for task in build_demo_tasks()}
LIST_TASKS = [name for rules in list_rules().values() for name in rules]
LEXICAL_TASKS = [name for name in TASKS if name not in LIST_TASKS]
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


def test_two_builds_are_the_same() -> None:
    assert build_demo_tasks() == build_demo_tasks()


def test_the_asset_holds_one_task_a_line_and_stays_small() -> None:
    assert len(DEMO_TASKS.read_text(encoding="utf-8").splitlines()) == len(TASKS) + 2
    assert DEMO_TASKS.stat().st_size < 1_500_000


def test_reading_the_asset_gives_the_tasks_that_were_built() -> None:
    assert demo_tasks() == TASKS


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


@pytest.mark.parametrize("name", TASKS)
def test_an_audit_finds_no_leak_no_conflict_and_no_duplicate(name: str) -> None:
    audit = TASKS[name].audit()
    assert (audit.test_in_train, audit.conflicting_inputs, audit.duplicates) == (0, 0, 0)


@pytest.mark.parametrize("name", TASKS)
def test_no_input_occurs_twice_in_any_splits(name: str) -> None:
    inputs = [row.input for row in rows_of(TASKS[name])]
    assert len(inputs) == len(set(inputs))


@pytest.mark.parametrize("name", LIST_TASKS)
def test_list_tasks_have_160_40_and_100_rows(name: str) -> None:
    assert [len(getattr(TASKS[name], split)) for split in SPLITS] == [160, 40, 100]


@pytest.mark.parametrize("name", LEXICAL_TASKS)
def test_lexical_tasks_are_all_rows_of_their_rule_split_60_10_30(name: str) -> None:
    task = TASKS[name]
    rows = rows_of(task)
    assert {(row.input, row.output) for row in rows} == set(LEXICAL_PAIRS[name])
    shares = [len(getattr(task, split)) / len(rows) for split in SPLITS]
    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.02)
    assert len(task.train) >= MIN_TRAIN
    assert len(task.test) >= MIN_TEST


def test_lexical_rules_are_left_out_only_for_few_rows() -> None:
    left_out = {name: pairs for name, pairs in LEXICAL_PAIRS.items() if name not in TASKS}
    assert left_out
    assert all(0.3 * len(pairs) <= MIN_TEST - 1 for pairs in left_out.values())


@pytest.mark.parametrize("name", LIST_TASKS)
def test_list_answers_follow_the_rule_in_the_name(name: str) -> None:
    rule, n_words = name.rsplit("_", 1)
    for row in rows_of(TASKS[name]):
        words = row.input.split(", ")
        assert len(set(words)) == int(n_words)
        assert row.outputs == (ANSWERS[rule](words),)


@pytest.mark.parametrize("name", ["choose_last_of_5", "odd_one_out_3", "pick_color_5", "smallest_number_3"])
def test_the_answer_stands_at_every_position_unless_the_rule_is_a_position(name: str) -> None:
    positions = {row.input.split(", ").index(row.output) for row in rows_of(TASKS[name])}
    n_words = int(name[-1])
    assert positions == ({n_words - 1} if name.startswith("choose") else set(range(n_words)))


def test_alphabetical_answers_are_decided_by_first_letters() -> None:
    for name in ("alphabetically_first_3", "alphabetically_last_3", "alphabetically_first_5"):
        for row in rows_of(TASKS[name]):
            letters = [word[0].lower() for word in row.input.split(", ")]
            assert len(set(letters)) == len(letters)


def test_no_word_is_in_two_categories() -> None:
    words = list(chain.from_iterable(CATEGORIES.values()))
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("name", "rule"),
    [("first_letter", lambda x: x[0]), ("last_letter", lambda x: x[-1]), ("copy", str), ("capitalize", str.title)],
)
def test_spelling_tasks_follow_their_rule(name: str, rule: Callable[[str], str]) -> None:
    assert all(row.output == rule(row.input) for row in rows_of(TASKS[name]))


@pytest.mark.parametrize(
    ("name", "inverse"),
    [
        ("english-french", "french-english"),
        ("english-german", "german-english"),
        ("spanish-french", "french-spanish"),
        ("country-capital", "capital-country"),
        ("singular-plural", "plural-singular"),
        ("present-past", "past-present"),
        ("present-gerund", "gerund-present"),
        ("next_item", "prev_item"),
        ("antonym", "antonym"),
        ("digits-words", "words-digits"),
    ],
)
def test_inverse_tasks_undo_each_other(name: str, inverse: str) -> None:
    assert {(y, x) for x, y in LEXICAL_PAIRS[name]} == set(LEXICAL_PAIRS[inverse])


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("antonym", "cold", "hot"),
        ("synonym", "big", "large"),
        ("object-category", "canoe", "vehicle"),
        ("plural-category", "wolves", "animal"),
        ("english-french", "dress", "robe"),
        ("english-german", "boat", "Boot"),
        ("spanish-english", "gris", "gray"),
        ("singular-plural", "church", "churches"),
        ("singular-plural", "strawberry", "strawberries"),
        ("singular-plural", "key", "keys"),
        ("singular-plural", "knife", "knives"),
        ("present-participle", "sing", "sung"),
        ("past-third", "went", "goes"),
        ("country-currency", "Korea", "won"),
        ("capital-continent", "Cairo", "Africa"),
        ("next_item", "Sunday", "Monday"),
        ("prev_item", "January", "December"),
        ("comparative-antonym", "hotter", "colder"),
        ("number-digit", "seven", "7"),
        ("date-abbrev", "Monday", "Mon"),
        ("word_length", "elephant", "8"),
        ("word-twice", "dog", "dog dog"),
        ("digits-words", "42", "forty two"),
        ("digits-words", "90", "ninety"),
        ("words-digits", "ninety nine", "99"),
        ("country-capital_language", "Japan", "Tokyo, Japanese"),
        ("country-capital_continent", "Japan", "Tokyo, Asia"),
        ("present-past_participle", "go", "went, gone"),
    ],
)
def test_rules_answer_as_a_reader_expects(name: str, x: str, y: str) -> None:
    assert dict(LEXICAL_PAIRS[name])[x] == y


@pytest.mark.parametrize("name", [name for name in LEXICAL_PAIRS if name != "copy"])
def test_only_the_copy_task_is_answered_by_a_copy(name: str) -> None:
    assert [x for x, y in LEXICAL_PAIRS[name] if x == y] == []


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


@pytest.mark.parametrize("name", TASKS)
def test_ten_shot_prompts_fit_and_read_back(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    task, template = TASKS[name], PromptTemplate()
    prompts = few_shot_prompts(task, task.test[:5], template, n_shots=10, stream=np.random.default_rng(0)).prompts
    for prompt in prompts:
        ids = tokenizer(prompt.text + prompt.answer).input_ids
        assert tokenizer.convert_ids_to_tokens(ids).count("A:") == 11
        assert len(ids) < 512
        assert tokenizer.decode(ids, skip_special_tokens=True) == prompt.text + prompt.answer
