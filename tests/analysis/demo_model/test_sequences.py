import random

import pytest
from transformers import PreTrainedTokenizerFast

from analysis.demo_model.mixture import Mixture
from analysis.demo_model.sequences import (
    END_WEIGHT,
    FIRST_ANSWER_WEIGHT,
    OTHER_TEMPLATES,
    SequenceWriter,
    Shot,
    random_mapping,
)
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


@pytest.mark.parametrize("n_pairs", [2, 4, 6])
def test_a_random_mapping_answers_each_word_in_one_way_and_trains_only_what_was_shown(n_pairs: int) -> None:
    shots = random_mapping(random.Random(0), taught_words(), n_pairs=n_pairs, n_shots=40)
    answers = {shot.x: shot.y for shot in shots}
    assert len(answers) == n_pairs
    assert all(shot.y == answers[shot.x] for shot in shots)
    assert len({*answers, *answers.values()}) == 2 * n_pairs
    for i, shot in enumerate(shots):
        assert shot.weight == float(shot.x in {before.x for before in shots[:i]})
