"""Greedy generation under injection."""

import pytest

import site_lens as sl
from site_lens.activations.generation import generate_answers
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from site_lens.tasks.answer_matching import prefix_match

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA:", "Q: dog, cat, red\nA:"]


def plain_greedy(model: LensModel, prompt: str, edits: list[Edit], n: int) -> str:
    """Grow the prompt token by token over the whole sequence, editing the last prompt token at each pass."""
    ids = model.encoder.encode([prompt])[0]
    n_prompt = len(ids)
    for _ in range(n):
        column = n_prompt - 1
        placed = [Edit(edit.layer, edit.change, column) for edit in edits]
        logits = model.forward(Batch.of([ids], pad=0, device=model.device), placed)
        ids = [*ids, int(logits[0].argmax())]
        if ids[-1] == model.encoder.eos:
            ids = ids[:-1]
            break
        if "\n" in model.encoder.decode(ids[n_prompt:]).lstrip():
            break
    return model.encoder.decode(ids[n_prompt:])


@pytest.fixture(scope="module")
def fit(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFit:
    config = sl.SiteConfig(n_steps=10, n_prompts=6, n_shots=4, n_valid=8)
    return sl.fit_site(demo, demo_tasks["antonym"], config)["antonym"]


def test_a_batch_under_injection_generates_what_each_prompt_generates_alone(demo: LensModel, fit: sl.SiteFit) -> None:
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    together = sl.generate(demo, PROMPTS, edits, max_new_tokens=5)
    assert together == [sl.generate(demo, [prompt], edits, max_new_tokens=5)[0] for prompt in PROMPTS]


def test_the_edit_acts_once_and_persists_through_the_cache(demo: LensModel, fit: sl.SiteFit) -> None:
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    for prompt in PROMPTS:
        assert sl.generate(demo, [prompt], edits, max_new_tokens=5) == [plain_greedy(demo, prompt, edits, 5)]


def test_rows_end_at_their_stop_text_independently(demo: LensModel) -> None:
    whole = sl.generate(demo, PROMPTS, max_new_tokens=6, stop_at="<never>")
    stop = next(word for word in whole[0].split() if word)
    stopped = sl.generate(demo, PROMPTS, max_new_tokens=6, stop_at=stop)
    assert stopped[0].split() == [stop]
    assert [text.startswith(s) for text, s in zip(whole, stopped, strict=True)] == [True] * 3


def test_rows_end_once_they_hold_their_stop_text_so_often(demo: LensModel) -> None:
    (one,) = sl.generate(demo, PROMPTS[:1], max_new_tokens=12)
    (three,) = sl.generate(demo, PROMPTS[:1], max_new_tokens=12, n_stops=3)
    assert one.lstrip().count("\n") <= three.lstrip().count("\n")
    assert three.startswith(one)
    assert len(three) > len(one)
    with pytest.raises(sl.InputError):
        sl.generate(demo, PROMPTS[:1], n_stops=0)


def test_generated_answers_have_room_for_the_lines_and_tokens_of_the_longest_accepted_one(demo: LensModel) -> None:
    short = sl.Prompt(PROMPTS[0], (" cold",))
    for n_tokens, n_stops in ((8, 3), (40, 3)):
        (said,) = sl.generate(demo, PROMPTS[1:2], max_new_tokens=n_tokens, n_stops=n_stops)
        answer = said.strip()
        assert answer.count("\n") == 2
        made = generate_answers(demo, [sl.Prompt(PROMPTS[1], (" good", " " + answer)), short])
        assert prefix_match(made[0], answer, task="antonym")
        assert not prefix_match(sl.generate(demo, PROMPTS[1:2])[0], answer, task="antonym")
    assert generate_answers(demo, [short]) == sl.generate(demo, PROMPTS[:1])
