"""The headline, the table of methods and the terminal compare SITE with the prompting that was evaluated."""

import pytest

import site_lens as sl
from site_lens.cli.output import show_run
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.names import few_shot_name
from site_lens.report.headline import compare, judged
from site_lens.report.methods import methods_section
from tests.fakes import ACCURACIES, fake_evaluation, fake_fits

TASKS = tuple(f"task {i}" for i in range(6))


def with_shots(n_shots: int, tasks: tuple[str, ...] = TASKS) -> Evaluations:
    """Evaluate the same answers under prompting with so many demonstrations."""
    names = tuple(few_shot_name(n_shots) if name == "ten_shot" else name for name in ACCURACIES)
    return Evaluations(fake_evaluation(task).replace(methods=names, n_shots=n_shots) for task in tasks)


def test_the_comparison_stands_whatever_the_number_of_demonstrations(capsys: pytest.CaptureFixture[str]) -> None:
    of_ten = compare(with_shots(10), "first_token")
    assert isinstance(of_ten, dict)
    expected = [list(means.values()) for _, means in of_ten["contrasts"]]
    measured, name = with_shots(3), few_shot_name(3)
    headline, methods = compare(measured, "first_token"), methods_section(measured)
    assert isinstance(headline, dict) and isinstance(methods, dict)
    verdict, of_both = headline["contrasts"][0]
    assert "3-shot" in verdict and list(of_both) == ["site", name]
    assert [list(means.values()) for _, means in headline["contrasts"]] == expected
    assert methods["table"].against == (name, "site")
    show_run(sl.Run(fake_fits(TASKS), evaluations=measured), {}, as_json=False)
    assert "SITE - 3-shot " in capsys.readouterr().out


def test_no_mean_gain_is_shown_over_different_numbers_of_demonstrations(capsys: pytest.CaptureFixture[str]) -> None:
    mixed = Evaluations([*with_shots(3, TASKS[:3]).values(), *with_shots(10, TASKS[3:]).values()])
    headline = compare(mixed, "first_token")
    assert isinstance(headline, str)
    assert "3, 10" in headline
    show_run(sl.Run(fake_fits(TASKS), evaluations=mixed), {}, as_json=False)
    assert "SITE - " not in capsys.readouterr().out


def test_two_to_five_tasks_get_a_verdict_each() -> None:
    shares = {"up": (0.9, 0.3), "down": (0.2, 0.8), "same": (0.5, 0.5)}
    measured = Evaluations(
        fake_evaluation(task, {"ten_shot": ten, "site": site}) for task, (site, ten) in shares.items()
    )
    sentence = judged(measured, "site", "ten_shot", "SITE", "prompting")
    assert "of 3 tasks" in sentence
    for word, part, task in zip(("better", "worse", "no difference"), sentence.split("; "), shares, strict=True):
        assert word in part and part.removesuffix(".").endswith(f"in 1 ({task})")
    few = Evaluations(fake_evaluation(task, {"ten_shot": 0, "site": 1}, n_queries=20) for task in shares)
    assert "under 30" in judged(few, "site", "ten_shot", "SITE", "prompting")
