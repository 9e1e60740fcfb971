"""A forecast counts what a study does, and says it in whole minutes."""

import pytest

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.runs.forecast import Forecast

CONFIG = sl.SiteConfig(n_prompts=2, n_shots=2, n_steps=4, batch_size=2, eval_every=2, n_valid=8)


@pytest.mark.parametrize(
    "asked",
    [
        {"prices": (), "seeds": (0, 1), "controls": ()},
        {"prices": (0.01,), "n_starts": 2},  # 0 is always among the prices
        {"prices": (-0.01, 0, 0.01), "n_starts": 1, "controls": ()},
    ],
)
def test_a_forecast_counts_the_fits_queries_and_methods_of_the_study(asked: dict[str, object]) -> None:
    model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
    announced: list[Forecast] = []
    run = sl.fit_and_evaluate(
        model, tasks, CONFIG, max_queries=5, progress=False, announce=announced.append, **asked,  # type: ignore[arg-type]
    )  # fmt: skip
    (work,) = announced
    assert run.evaluations is not None
    assert work.n_queries == sum(len(evaluation.queries) for evaluation in run.evaluations.values())
    shared = {"site_sparse", "gates_sparse"} if run.paths else set()  # which a task without a set lacks
    assert work.n_methods == len({*run.evaluations.methods} | shared)
    n_fits = len(run.fits) + sum(map(len, run.controls.values()))
    for path in run.paths.values():
        begun_with = 2 if ZERO_EMBEDDING in run.controls else 1  # of the fits above
        chosen_free = path.chosen is None or path.chosen.price == 0  # then no control needs a further fit
        n_fits += len(path.fits) - begun_with + chosen_free
    assert work.n_fits == n_fits


def test_nothing_is_announced_of_a_study_that_cannot_begin() -> None:
    announced: list[Forecast] = []
    with pytest.raises(sl.InputError):
        sl.fit_and_evaluate(
            sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), CONFIG, controls=("no_such_control",),
            announce=announced.append,
        )  # fmt: skip
    assert announced == []


def test_more_steps_take_longer() -> None:
    model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
    short, long = (sl.forecast(model, tasks, CONFIG.replace(n_steps=n), prices=()) for n in (10, 10_000))
    assert 0 < short.seconds < long.seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "less than a minute"), (80, "about 1 minute"), (400, "about 7 minutes"), (7200, "about 2 hours")],
)
def test_a_forecast_says_its_time_in_words(seconds: float, words: str) -> None:
    assert str(Forecast(1, 12, 30, 6, seconds)) == f"1 task, 12 fits, 30 queries x 6 methods: {words}"
