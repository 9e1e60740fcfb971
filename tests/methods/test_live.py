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


def test_answers_are_the_first_lines_that_the_model_generates(
    live: LiveModel, demo: LensModel, fits: sl.SiteFits
) -> None:
    fit = fits["antonym"]
    query = live.queries(fit)[0]
    found, prompts = live.answers(fit, query, fit.gates), live.prompts(fit, query)
    for name, text in prompts.items():
        assert found[name] == first_lines(sl.generate(demo, [text])[0])
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    assert found["injected"] == first_lines(sl.generate(demo, [prompts["zero_shot"]], edits)[0])
    assert prompts["ten_shot"].count("A:") == 11 and prompts["ten_shot"].endswith(fit.template.query_text(query))
    assert f"Q: {query}\nA: " not in prompts["ten_shot"]  # its own row would give the answer away
