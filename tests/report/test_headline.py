"""The headline, the table of methods and the terminal compare SITE with the prompting that was evaluated."""

import dataclasses
from typing import Any

import pytest

import site_lens as sl
from site_lens.cli.output import show_run
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.names import few_shot_name
from site_lens.report.headline import Comparison, compare
from site_lens.report.methods import Methods, compare_rivals
from tests.fakes import ACCURACIES, fake_evaluation, fake_fits

TASKS = tuple(f"task {i}" for i in range(6))


def with_shots(n_shots: int, tasks: tuple[str, ...] = TASKS) -> Evaluations:
    """Evaluate the same answers under prompting with so many demonstrations."""
    found = [fake_evaluation(task) for task in tasks]
    names = tuple(few_shot_name(n_shots) if name == "ten_shot" else name for name in ACCURACIES)
    return Evaluations(one.replace(methods=names, n_shots=n_shots) for one in found)


@pytest.mark.parametrize("n_shots", [1, 3, 5, 10, 25])
def test_the_comparison_stands_whatever_the_number_of_demonstrations(
    n_shots: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, name = with_shots(n_shots), few_shot_name(n_shots)
    found, of_ten = compare(measured, "first_token"), compare(with_shots(10), "first_token")
    assert isinstance(found, Comparison) and isinstance(of_ten, Comparison)
    assert f"{n_shots}-shot" in found.verdict
    assert found.reference_name == name

    def numbers(one: Comparison) -> dict[str, Any]:
        fields = dataclasses.asdict(one)
        return {key: value for key, value in fields.items() if not isinstance(value, str)}

    assert numbers(found) == numbers(of_ten)
    methods = compare_rivals(measured)
    assert isinstance(methods, Methods)
    assert methods.table.against == (name, "site")
    show_run(sl.Run(fake_fits(TASKS), evaluations=measured), {}, as_json=False)
    assert f"site - {name} " in capsys.readouterr().out


def test_no_mean_gain_is_shown_over_different_numbers_of_demonstrations(capsys: pytest.CaptureFixture[str]) -> None:
    mixed = Evaluations([*with_shots(3, TASKS[:3]).values(), *with_shots(10, TASKS[3:]).values()])
    found = compare(mixed, "first_token")
    assert isinstance(found, str)
    assert "3, 10" in found
    show_run(sl.Run(fake_fits(TASKS), evaluations=mixed), {}, as_json=False)
    assert "site - " not in capsys.readouterr().out
