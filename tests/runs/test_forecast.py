"""A forecast counts what a study does, and takes longer for more."""

import site_lens as sl

QUICK = sl.SiteConfig(n_prompts=2, n_shots=2, n_steps=4, batch_size=2)


def test_a_forecast_counts_the_queries_and_methods_that_the_study_evaluates() -> None:
    model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
    counted = sl.forecast(model, tasks, QUICK, prices=(), max_queries=5)
    run = sl.fit_and_evaluate(model, tasks, QUICK, prices=(), max_queries=5, progress=False)
    assert run.evaluations is not None
    assert counted.n_queries == len(run.evaluations["antonym"].queries)
    assert counted.n_methods == len(run.evaluations.methods)
    assert counted.n_fits == len(run.fits) + sum(map(len, run.controls.values()))
    assert counted.seconds > 0
