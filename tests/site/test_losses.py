"""Answers that share their first token: the fit takes the whole answer by default, and says so in one line."""

from collections.abc import Callable

import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from tests.conftest import Models, Tasks

SMALL = sl.SiteConfig(n_prompts=3, n_shots=2, n_steps=2, batch_size=2, n_valid=3)
SHARED: dict[str, Callable[[int], str]] = {
    "dollars": lambda i: f"${i}",
    "CJK": lambda i: chr(0x4E00 + i),
}


def task_of(name: str, answer: Callable[[int], str]) -> sl.Task:
    """Sixteen rows, each with an answer of its own."""
    rows = tuple(sl.Example(f"word {i}", (answer(i),)) for i in range(16))
    return sl.Task(name, rows[:10], rows[10:13], rows[13:])


@pytest.mark.parametrize("kind", ["dollars", "CJK"])
def test_the_default_loss_is_the_whole_answer_where_answers_share_their_first_token(tiny: Models, kind: str) -> None:
    model, task = tiny("gpt2"), task_of(kind, SHARED[kind])
    found = sl.first_tokens(model, task.train)
    assert (found.n_answers, found.tell_apart) == (10, False), found
    with pytest.warns(UserWarning, match="loss='answer'") as warned:
        fits = sl.fit_site(model, task, SMALL)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert fits[kind].config == SMALL.replace(loss="answer")
    assert any("loss='answer'" in note for note in fits[kind].notes)
    for chosen in ("first_token", "answer"):  # what was asked for is done, without a word
        assert sl.fit_site(model, task, SMALL.replace(loss=chosen))[kind].config.loss == chosen


def test_answers_that_are_told_apart_are_fitted_to_their_first_token(demo: LensModel, demo_tasks: Tasks) -> None:
    for name, fit in sl.fit_site(demo, demo_tasks, SMALL).items():
        assert fit.config.loss == "first_token", name
        assert not any("loss" in note for note in fit.notes)
    rows = [sl.Example(f"word {i}", ("no" if i % 20 == 0 else "yes",)) for i in range(60)]
    sparse = sl.Task("yes or no", tuple(rows[:40]), tuple(rows[40:50]), tuple(rows[50:]))
    assert sl.fit_site(demo, sparse, SMALL)["yes or no"].config.loss == "first_token"


def test_tasks_that_share_an_alpha_map_share_the_loss(tiny: Models) -> None:
    model = tiny("gpt2")
    tasks = [task_of("plain", lambda i: "abcdefghijklmnop"[i]), task_of("dollars", SHARED["dollars"])]
    with pytest.warns(UserWarning, match="dollars"):
        apart = sl.fit_site(model, tasks, SMALL)
    assert [fit.config.loss for fit in apart.values()] == ["first_token", "answer"]
    with pytest.warns(UserWarning, match="dollars"):
        shared = sl.fit_site(model, tasks, SMALL.replace(shared=True))
    assert [fit.config.loss for fit in shared.values()] == ["answer", "answer"]
    assert shared["plain"].gates.values.tolist() == shared["dollars"].gates.values.tolist()
