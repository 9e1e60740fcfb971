"""What a live model says at once is what the slow and separate ways say."""

import pytest

import site_lens as sl
from site_lens.methods.live import LiveModel
from site_lens.models.base import LensModel
from site_lens.tasks.answer_matching import first_lines

QUICK = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4, n_valid=10)


@pytest.fixture(scope="module")
def fits(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFits:
    return sl.fit_site(demo, {name: demo_tasks[name] for name in ("antonym", "country-capital")}, QUICK)


@pytest.fixture(scope="module")
def live(demo: LensModel, demo_tasks: dict[str, sl.Task], fits: sl.SiteFits) -> LiveModel:
    return LiveModel(demo, fits.values(), demo_tasks, n_queries=16)


def test_accuracies_are_those_of_evaluate(
    live: LiveModel, demo: LensModel, demo_tasks: dict[str, sl.Task], fits: sl.SiteFits
) -> None:
    for name, fit in fits.items():
        measured = sl.evaluate(demo, demo_tasks[name], fits, max_queries=16)[name]
        assert live.accuracies(fit, fit.gates) == {
            "zero_shot": measured.accuracy("zero_shot"),
            "ten_shot": measured.accuracy("ten_shot"),
            "injected": measured.accuracy("site"),
        }
        assert live.accuracies(fit, fit.gates.hard())["injected"] == measured.accuracy("site_hard")


def test_closed_gates_answer_as_the_bare_query(live: LiveModel, demo: LensModel, fits: sl.SiteFits) -> None:
    fit, closed = fits["antonym"], sl.HeadGates.constant(demo.grid, 0.0)
    accuracies, answers = live.accuracies(fit, closed), live.answers(fit, "hot", closed)
    assert accuracies["injected"] == accuracies["zero_shot"]
    assert answers["injected"] == answers["zero_shot"]


def test_answers_are_the_first_lines_that_the_model_generates(
    live: LiveModel, demo: LensModel, fits: sl.SiteFits
) -> None:
    fit = fits["antonym"]
    query = live.queries(fit)[0]
    answers = live.answers(fit, query, fit.gates)
    prompt = fit.template.query_text(query)
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    assert answers["injected"] == first_lines(sl.generate(demo, [prompt], edits)[0])
    assert answers["zero_shot"] == first_lines(sl.generate(demo, [prompt])[0])
    shown = live.prompts(fit, query)["ten_shot"]
    assert answers["ten_shot"] == first_lines(sl.generate(demo, [shown])[0])
    assert shown.count("A:") == 11
    assert shown.endswith(prompt)
    assert f"Q: {query}\nA: " not in shown  # its own row would give the answer away
