import random

import pytest

from analysis.demo_model.sequences import END_WEIGHT, FIRST_ANSWER_WEIGHT, SequenceWriter, Shot, random_mapping
from analysis.demo_model.tokenizer import build_tokenizer, taught_words
from site_lens.tasks.prompt_template import PromptTemplate

SHOTS = [Shot("dog, cat", "chien, chat"), Shot("seven", "7"), Shot("42", "forty two"), Shot("France", "Paris", 0.0)]


def test_only_answers_and_their_ends_have_a_loss() -> None:
    tokenizer = build_tokenizer()
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
