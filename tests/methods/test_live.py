"""What a live model says at once is what the slow and separate ways say."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.methods.live import LiveModel
from site_lens.models.base import LensModel
from site_lens.tasks.answer_matching import first_lines
from tests.fakes import fake_fit

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


def test_a_short_task_shows_the_rows_that_it_has(demo: LensModel, fits: sl.SiteFits) -> None:
    fit = fits["antonym"]
    rows = [sl.Example(word, (word[::-1],)) for word in ("hot", "big", "old", "wet")]
    short = sl.Task("antonym", tuple(rows), tuple(rows[:1]), tuple(rows[:2]))
    live = LiveModel(demo, [fit], {"antonym": short})
    assert list(live.accuracies(fit, fit.gates)) == ["zero_shot", "3_shot", "injected"]
    assert list(live.prompts(fit, "hot")) == ["zero_shot", "3_shot"]
    assert live.prompts(fit, "new")["4_shot"].count("A:") == 5
    one = tuple(rows[:1])
    alone = LiveModel(demo, [fit], {"antonym": sl.Task("antonym", one, one, one)})
    assert (
        list(alone.answers(fit, "hot", fit.gates))
        == list(alone.accuracies(fit, fit.gates))
        == ["zero_shot", "injected"]
    )


def test_attention_is_that_of_a_sample(live: LiveModel, demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    sample = sl.sample_attention(demo, demo_tasks["antonym"], ["L2H3"], n_shots=[1])
    tokens, pattern = live.attention("".join(sample.tokens[0]).removeprefix("<s>"), sl.Head(2, 3))
    assert tokens == sample.tokens[0]
    np.testing.assert_allclose(pattern, sample.pattern(0)[0], atol=1e-5)


def test_mistakes_are_refused(live: LiveModel, demo: LensModel, fits: sl.SiteFits) -> None:
    fit = fits["antonym"]
    with pytest.raises(sl.InputError, match="blank"):
        live.answers(fit, " ", fit.gates)
    with pytest.raises(sl.InputError, match="context"):
        live.attention("word " * 5000, sl.Head(0, 0))
    with pytest.raises(sl.InputError, match="n_queries"):
        LiveModel(demo, fits.values(), {}, n_queries=0)
    with pytest.raises(sl.MismatchError, match="cannot be used"):
        LiveModel(demo, [fake_fit("a")], {})
