"""Greedy generation under injection."""

import pytest

import site_lens as sl
from site_lens.activations.generation import generate_answers
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from site_lens.tasks.answer_matching import prefix_match
from tests.conftest import Tasks

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA:", "Q: dog, cat, red\nA:"]


def plain_greedy(model: LensModel, prompt: str, edits: list[Edit], n: int) -> str:
    """Grow the prompt token by token over the whole sequence, editing the last prompt token at each pass."""
    ids, new = model.encoder.encode([prompt])[0], list[int]()
    placed = [Edit(edit.layer, edit.change, len(ids) - 1) for edit in edits]
    while len(new) < n and "\n" not in model.encoder.decode(new).lstrip():
        logits = model.forward(Batch.of([ids + new], pad=0, device=model.device), placed)
        if int(logits[0].argmax()) == model.encoder.eos:
            break
        new.append(int(logits[0].argmax()))
    return model.encoder.decode(new)


@pytest.fixture(scope="module")
def fit(demo: LensModel, demo_tasks: Tasks) -> sl.SiteFit:
    config = sl.SiteConfig(n_steps=10, n_prompts=6, n_shots=4, n_valid=8)
    return sl.fit_site(demo, demo_tasks["antonym"], config)["antonym"]


def test_the_edit_acts_once_and_persists_through_the_cache(demo: LensModel, fit: sl.SiteFit) -> None:
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    expected = [plain_greedy(demo, prompt, edits, 5) for prompt in PROMPTS]
    assert sl.generate(demo, PROMPTS, edits, max_new_tokens=5) == expected


def test_rows_end_at_their_stop_text_independently(demo: LensModel) -> None:
    whole = sl.generate(demo, PROMPTS, max_new_tokens=6, stop_at="<never>")
    stop = next(word for word in whole[0].split() if word)
    stopped = sl.generate(demo, PROMPTS, max_new_tokens=6, stop_at=stop)
    assert stopped[0].split() == [stop]
    assert [text.startswith(s) for text, s in zip(whole, stopped, strict=True)] == [True] * 3


def test_generated_answers_have_room_for_the_lines_and_tokens_of_the_longest_accepted_one(demo: LensModel) -> None:
    short = sl.Prompt(PROMPTS[0], (" cold",))
    (said,) = sl.generate(demo, PROMPTS[1:2], max_new_tokens=40, n_stops=3)
    answer = said.strip()
    assert answer.count("\n") == 2
    made = generate_answers(demo, [sl.Prompt(PROMPTS[1], (" good", " " + answer)), short])
    assert prefix_match(made[0], answer, task="antonym")
    assert not prefix_match(sl.generate(demo, PROMPTS[1:2])[0], answer, task="antonym")
    assert generate_answers(demo, [short]) == sl.generate(demo, PROMPTS[:1])
