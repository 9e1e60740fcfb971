"""The report says which methods are better than SITE, and which selectors find its heads, or why it cannot."""

import re
from pathlib import Path

import site_lens as sl
from site_lens.records.hashing import seed_stream
from site_lens.report.methods import verdicts
from site_lens.report.selectors import selectors_section
from tests.fakes import GRID, fake_alphas, fake_evaluation, fake_fits
from tests.report.test_report import numbers, report, words

TASKS = [f"task{i}" for i in range(8)]
PLANTED = {"zero_shot": 0.05, "ten_shot": 0.5, "site": 0.7, "site_zero_embedding": 0.3, "lora": 0.9}
ROWS = {"ten_shot": 10, "lora": 500, "site": 90, "site_zero_embedding": 90}


def evaluated(planted: dict[str, float], tasks: list[str] = TASKS) -> sl.Evaluations:
    rows = tuple(ROWS.get(method, 0) for method in planted)
    return sl.Evaluations(fake_evaluation(task, planted).replace(labelled_rows=rows) for task in tasks)


def said(planted: dict[str, float], tasks: list[str] = TASKS) -> str:
    return " ".join(verdicts(sl.method_table(evaluated(planted, tasks))))


def scored(selector: str, *, noise: float, meaning: str = "planted") -> sl.ScoresByTask:
    """Build scores that are SITE's alphas and noise."""
    return sl.ScoresByTask(
        sl.HeadScores(
            grid=GRID,
            values=fake_alphas(task) + noise * seed_stream(selector, task).random(GRID.shape),
            selector=selector,
            meaning=meaning,
            task=task,
            n_forwards=1200,
        )
        for task in TASKS
    )


def site_scores() -> sl.ScoresByTask:
    return sl.ScoresByTask(sl.HeadGates(grid=GRID, values=fake_alphas(task), task=task) for task in TASKS)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, flags=re.S)
    assert found is not None
    return found[0]


# Methods


def test_a_rival_that_is_better_is_named_with_its_difference_and_its_data() -> None:
    text = said(PLANTED)
    assert "Better than SITE: LoRA (+0.200 [" in text
    assert "No difference" not in text
    assert "Highest mean accuracy: LoRA, 0.900." in text
    assert "Of the methods with at most SITE's 90 labelled rows none has a higher mean accuracy." in text


def test_few_tasks_give_no_verdict_and_one_task_gives_that_of_its_queries() -> None:
    text = said(PLANTED, TASKS[:5])
    assert "No verdict on SITE's rivals from 5 tasks: it takes 6." in text
    assert "Better than SITE" not in text
    assert "Better than SITE: LoRA" in said({"ten_shot": 0.5, "site": 0.4, "lora": 1.0}, TASKS[:1])


def test_the_section_has_every_method_with_tests_rows_and_numbers(tmp_path: Path) -> None:
    page = report(tmp_path, fake_fits(TASKS), evaluations=evaluated(PLANTED))
    text = words(section(page, "methods"))
    assert "5 methods on 8 of 8 evaluated tasks." in text
    assert "+0.200[0.095, 0.305], q" in text
    assert "seconds to make" not in text  # nobody measured
    assert len(numbers(page, "method-means")["rows"]) == len(PLANTED) * len(TASKS)
    assert len(numbers(page, "labelled-rows")["rows"]) == len(PLANTED)
    assert len(numbers(page, "method-tests")["rows"]) == 2 * (len(PLANTED) - 1) * len(TASKS)
    assert "Better than SITE: LoRA" in words(section(page, "summary"))


# Ways to find heads


def test_the_closest_selectors_and_those_that_share_heads_are_named() -> None:
    found = selectors_section(
        {"near": scored("near", noise=0.01), "far": scored("far", noise=50), "site": site_scores()}
    )
    assert isinstance(found, dict)
    text = " ".join(found["lines"])
    assert re.search(
        r"Closest to SITE by mean rank correlation over all heads: near \(1\.00\), far \(-?0\.\d\d\)", text
    )
    assert "more of SITE's top 5 heads than chance, in at least half of the tasks taken one by one" in text
    assert "near (100%)" in text
    assert found["agreement"].names[0] == "site"
