"""The report says which methods are better than SITE, and which selectors find its heads, or why it cannot."""

import re
from pathlib import Path

import numpy as np

from site_lens.diagnostics.selector_agreement import compare_selectors
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores, ScoresByTask
from site_lens.methods.evaluation import Evaluations, MethodCost
from site_lens.methods.tabulate import method_table
from site_lens.records.hashing import seed_stream
from site_lens.report import write_report
from site_lens.report.methods import methods_section, verdicts
from site_lens.report.selectors import Selectors, selectors_section
from site_lens.runs.run import Run
from tests.fakes import GRID, fake_alphas, fake_evaluation, fake_fits
from tests.report.test_report import numbers, words

TASKS = [f"task{i}" for i in range(8)]
PLANTED = {"zero_shot": 0.05, "ten_shot": 0.5, "site": 0.7, "site_zero_embedding": 0.3, "lora": 0.9}
ROWS = {"ten_shot": 10, "lora": 500, "site": 90, "site_zero_embedding": 90}


def evaluated(planted: dict[str, float], tasks: list[str] = TASKS) -> Evaluations:
    rows = tuple(ROWS.get(method, 0) for method in planted)
    return Evaluations(fake_evaluation(task, planted).replace(labelled_rows=rows) for task in tasks)


def said(planted: dict[str, float], tasks: list[str] = TASKS) -> str:
    return " ".join(verdicts(method_table(evaluated(planted, tasks))))


def scored(selector: str, *, noise: float, meaning: str = "planted") -> ScoresByTask:
    """Build scores that are SITE's alphas and noise."""
    return ScoresByTask(
        HeadScores(
            grid=GRID,
            values=fake_alphas(task) + noise * seed_stream(selector, task).random(GRID.shape),
            selector=selector,
            meaning=meaning,
            task=task,
            n_forwards=1200,
        )
        for task in TASKS
    )


def site_scores() -> ScoresByTask:
    return ScoresByTask(HeadGates(grid=GRID, values=fake_alphas(task), task=task) for task in TASKS)


def page_of(tmp_path: Path, run: Run) -> str:
    return write_report(run, tmp_path / "r.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, flags=re.S)
    assert found is not None
    return found[0]


# Methods


def test_a_rival_that_is_better_is_named_with_its_difference_and_its_data() -> None:
    text = said(PLANTED)
    assert "Better than SITE: lora (+0.200 [" in text
    assert "No difference" not in text
    assert "Highest mean accuracy: lora, 0.900." in text
    assert "Of the methods with at most SITE's 90 labelled rows none has a higher mean accuracy." in text


def test_where_no_rival_is_shown_to_be_better_that_is_said_and_no_more() -> None:
    text = said(PLANTED | {"lora": 0.7})
    assert "Better than SITE" not in text
    assert "No difference from SITE found, with 95% intervals: lora (+0.000 [" in text
    assert "Highest mean accuracy: site and lora, 0.700." in text


def test_gates_alone_that_do_as_well_or_better_are_pointed_out() -> None:
    assert "gates alone" not in said(PLANTED)
    for share, expected in ((0.7, "intervals: site_zero_embedding (+0.000 ["), (0.95, "site_zero_embedding (+0.250 [")):
        text = said(PLANTED | {"site_zero_embedding": share})
        assert expected in text
        assert "The gates alone (site_zero_embedding) are among these" in text


def test_a_better_method_on_no_more_data_is_named() -> None:
    text = said(PLANTED | {"ten_shot": 0.8})
    assert "at most SITE's 90 labelled rows, ten_shot has the highest mean accuracy, 0.800; SITE has 0.700" in text


def test_few_tasks_give_no_verdict_and_one_task_gives_that_of_its_queries() -> None:
    text = said(PLANTED, TASKS[:5])
    assert "No verdict on SITE's rivals from 5 tasks: it takes 6." in text
    assert "Better than SITE" not in text
    assert "Better than SITE: lora" in said({"ten_shot": 0.5, "site": 0.4, "lora": 1.0}, TASKS[:1])


def test_without_site_only_the_best_is_named() -> None:
    table = method_table(evaluated({"ten_shot": 0.5, "lora": 0.9}), ["ten_shot"])
    assert verdicts(table) == ["Highest mean accuracy: lora, 0.900."]


def test_the_section_has_every_method_with_tests_rows_and_numbers(tmp_path: Path) -> None:
    page = page_of(tmp_path, Run(fake_fits(TASKS), evaluations=evaluated(PLANTED)))
    text = words(section(page, "methods"))
    assert "5 methods on 8 of 8 evaluated tasks." in text
    assert "+0.200[0.095, 0.305], q" in text
    assert "seconds to make" not in text  # nobody measured
    assert len(numbers(page, "method-means")["rows"]) == len(PLANTED) * len(TASKS)
    assert len(numbers(page, "labelled-rows")["rows"]) == len(PLANTED)
    assert len(numbers(page, "method-tests")["rows"]) == 2 * (len(PLANTED) - 1) * len(TASKS)
    assert "Better than SITE: lora" in words(section(page, "summary"))


def test_costs_are_shown_where_they_were_measured(tmp_path: Path) -> None:
    cost = tuple(
        MethodCost(n_trained=0, stored_bytes=1234567, fit_seconds=None, query_seconds=0.1 * i)
        for i in range(1, len(PLANTED) + 1)
    )
    measured = Evaluations(one.replace(costs=cost) for one in evaluated(PLANTED).values())
    text = words(section(page_of(tmp_path, Run(fake_fits(TASKS), evaluations=measured)), "methods"))
    assert "1,234,567" in text
    assert "5.00" in text


def test_methods_on_different_tasks_are_not_averaged_but_explained(tmp_path: Path) -> None:
    mixed = Evaluations(
        [fake_evaluation("a", {"ten_shot": 1, "x": 0.5}), fake_evaluation("b", {"ten_shot": 1, "y": 1})]
    )
    found = methods_section(mixed)
    assert isinstance(found, str)
    assert "no task was evaluated with all 3 methods" in found
    page = page_of(tmp_path, Run(fake_fits(["a", "b"]), evaluations=mixed))
    assert "The methods are not compared over tasks" in words(section(page, "methods"))


def test_tasks_that_lack_a_method_are_counted(tmp_path: Path) -> None:
    some = Evaluations([*evaluated(PLANTED).values(), fake_evaluation("bare", {"ten_shot": 0.5})])
    text = words(section(page_of(tmp_path, Run(fake_fits(TASKS), evaluations=some)), "methods"))
    assert "5 methods on 8 of 9 evaluated tasks: those that were evaluated with every method." in text


def test_methods_without_a_reference_or_a_second_method_have_no_comparison() -> None:
    assert methods_section(None) is None
    assert methods_section(Evaluations([])) is None
    assert methods_section(evaluated({"site": 0.5})) is None
    assert methods_section(evaluated({"a": 0.5, "b": 0.5})) == (
        "Methods are compared with few-shot prompting and site here, and neither was evaluated."
    )


# Ways to find heads


def test_the_closest_selectors_and_those_that_share_heads_are_named() -> None:
    found = selectors_section(
        {"near": scored("near", noise=0.01), "far": scored("far", noise=50), "site": site_scores()}
    )
    assert isinstance(found, Selectors)
    text = " ".join(found.lines)
    assert re.search(
        r"Closest to SITE by mean rank correlation over all heads: near \(1\.00\), far \(-?0\.\d\d\)", text
    )
    assert "more of SITE's top 5 heads than chance, in at least half of the tasks taken one by one" in text
    assert "near (100%)" in text
    assert found.agreement.names[0] == "site"


def test_no_selector_that_shares_more_than_chance_is_said() -> None:
    found = selectors_section({"site": site_scores(), "far": scored("far", noise=50)})
    assert isinstance(found, Selectors)
    assert "No selector was found to share more of SITE's top 5 heads than chance" in " ".join(found.lines)


def test_what_a_reader_must_know_of_the_scores_is_said() -> None:
    same = ScoresByTask(
        one.replace(values=site_scores()["task0"].values - 0.5) for one in scored("s", noise=0).values()
    )
    tied = ScoresByTask(one.replace(values=np.ones(GRID.shape)) for one in scored("t", noise=0).values())
    fewer = ScoresByTask(list(scored("random", noise=50).values())[:-1])
    found = selectors_section({"site": site_scores(), "same": same, "tied": tied, "random": fewer})
    assert isinstance(found, Selectors)
    text = " ".join(found.lines)
    assert "same has scores below zero" in text
    assert "The same for every task (asterisk): same, tied." in text
    assert "tied (100% of the tasks). Such a set is in part arbitrary." in text
    assert "False-positive rate with random scores: 0.0% of all pairs and tasks" in text
    assert "did not score them: task7." in text


def test_without_site_the_selectors_are_compared_with_each_other() -> None:
    found = selectors_section({"a": scored("a", noise=0.1), "b": scored("b", noise=0.1)})
    assert isinstance(found, Selectors)
    assert not any("SITE" in line for line in found.lines)
    assert found.with_site == [None, None]


def test_the_section_stands_only_where_there_are_scores(tmp_path: Path) -> None:
    fits = fake_fits(TASKS)
    assert 'id="selectors"' not in page_of(tmp_path, Run(fits))
    assert 'id="selectors"' not in page_of(tmp_path, Run(fits, scores={"site": site_scores()}))
    scores = {"near": scored("near", noise=0.01), "site": site_scores()}
    page = page_of(tmp_path, Run(fits, scores=scores))
    expected = compare_selectors({"site": scores["site"], "near": scores["near"]})
    text = words(section(page, "selectors"))
    assert f"{expected.mean('spearman')[0, 1]:.3f}" in text
    assert "1,200" in text
    assert len(numbers(page, "selector-agreement")["rows"]) == 1


def test_scores_of_another_grid_are_explained() -> None:
    small = HeadGrid.full(2, 2)
    other = ScoresByTask(HeadGates.constant(small, 0.5, task=task) for task in TASKS)
    found = selectors_section({"site": site_scores(), "other": other})
    assert isinstance(found, str)
    assert "The ways to find heads are not compared" in found
    assert "compare scores of one model only" in found
