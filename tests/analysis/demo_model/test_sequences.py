import random

import pytest
from transformers import PreTrainedTokenizerFast

from analysis.demo_model.mixture import KINDS, Mixture
from analysis.demo_model.sequences import (
    END_WEIGHT,
    FIRST_ANSWER_WEIGHT,
    OTHER_TEMPLATES,
    SequenceWriter,
    Shot,
    random_mapping,
    repeated_tokens,
)
from analysis.demo_model.tasks import build_demo_tasks
from analysis.demo_model.tokenizer import build_tokenizer, taught_words
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example

SHOTS = [Shot("dog, cat", "chien, chat"), Shot("seven", "7"), Shot("42", "forty two"), Shot("France", "Paris", 0.0)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return Mixture()


@pytest.mark.parametrize("template", [PromptTemplate(), *OTHER_TEMPLATES])
@pytest.mark.parametrize("bos", [True, False])
def test_written_tokens_are_those_of_the_rendered_text(
    tokenizer: PreTrainedTokenizerFast, template: PromptTemplate, bos: bool
) -> None:
    *shown, last = [Example(shot.x, (shot.y,)) for shot in SHOTS]
    prompt = template.render(shown, last)
    text = prompt.text + prompt.answer + template.output_separator
    written = SequenceWriter(tokenizer).write(SHOTS, template, bos=bos)
    assert written.ids == tokenizer(text, add_special_tokens=False).input_ids[:0] + tokenizer(text).input_ids[not bos :]
    assert len(written.ids) == len(written.weights) == len(written.examples) == len(written.in_query)


def test_only_answers_and_their_ends_have_a_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    written = SequenceWriter(tokenizer).write(SHOTS, PromptTemplate())
    weighted = [
        (tokenizer.decode([token]), weight)
        for token, weight in zip(written.ids, written.weights, strict=True)
        if weight > 0
    ]
    first = FIRST_ANSWER_WEIGHT
    assert weighted == [
        *((" chien", first), (",", first), (" chat", first), ("\n\n", first * END_WEIGHT)),
        *(("7", 1.0), ("\n\n", END_WEIGHT)),
        *((" forty", 1.0), (" two", 1.0), ("\n\n", END_WEIGHT)),
    ]


def test_the_query_of_an_example_is_its_prefix_and_input(tokenizer: PreTrainedTokenizerFast) -> None:
    written = SequenceWriter(tokenizer).write([Shot("dog, cat", "cat")], PromptTemplate())
    in_query = [token for token, inside in zip(written.ids, written.in_query, strict=True) if inside]
    assert tokenizer.decode(in_query) == "<s>Q: dog, cat"
    assert written.examples == [-1] + [0] * (len(written.ids) - 1)


@pytest.mark.parametrize("n_pairs", [2, 4, 6])
def test_a_random_mapping_answers_each_word_in_one_way_and_trains_only_what_was_shown(n_pairs: int) -> None:
    shots = random_mapping(random.Random(0), taught_words(), n_pairs=n_pairs, n_shots=40)
    answers = {shot.x: shot.y for shot in shots}
    assert len(answers) == n_pairs
    assert all(shot.y == answers[shot.x] for shot in shots)
    assert len({*answers, *answers.values()}) == 2 * n_pairs
    for i, shot in enumerate(shots):
        assert shot.weight == float(shot.x in {before.x for before in shots[:i]})


@pytest.mark.parametrize("period", [4, 9])
def test_repeated_tokens_repeat_with_their_period_and_train_from_the_second_round(period: int) -> None:
    made = repeated_tokens(random.Random(1), range(3, 1000), bos=1, period=period, n_tokens=30, weight=0.5)
    block = made.ids[1:]
    assert made.ids[0] == 1
    assert block[period:] == block[:-period]
    assert made.weights == [0.0] * (1 + period) + [0.5] * (30 - period)


def test_every_rule_is_trained_in_one_kind_of_batch(mixture: Mixture) -> None:
    names = [name for kind in KINDS for name in mixture.rule_names(kind)]
    assert len(names) == len(set(names))
    assert {task.name for task in build_demo_tasks()} <= set(names)
    assert {"english-french", "word_length"} <= set(mixture.rule_names("short"))
    assert {"choose_first_of_3", "english-french_2"} <= set(mixture.rule_names("medium"))
    assert {"choose_first_of_5", "reverse_3"} <= set(mixture.rule_names("long"))
