"""Runs whose records were made on another model, in another format or on other rows are found out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import site_lens as sl
from site_lens.diagnostics.diagnosis import Finding
from site_lens.models.identity import ModelIdentity
from tests.fake_studies import fake_sensitivity
from tests.fakes import fake_evaluation, fake_fit, fake_identity, fake_transfer

HERE, OTHER = fake_identity(), fake_identity("other-model")
HALF = HERE.replace(dtype="bfloat16")
ROWS = "0" * 64


def run_of(**changes: Any) -> sl.Run:
    fit = fake_fit("antonym", model=HERE)
    run = sl.Run(sl.SiteFits([fit]), {"site_zero_embedding": sl.SiteFits([fit])}, evaluations_of())
    return replace(run, **changes)


def evaluations_of(model: ModelIdentity = HERE, **changes: Any) -> sl.Evaluations:
    return sl.Evaluations([fake_evaluation("antonym", model=model, **changes)])


def origin(run: sl.Run) -> Finding:
    (found,) = [one for one in sl.diagnose(run).of("antonym") if one.code == "one_origin"]
    return found


STRANGE: dict[str, Callable[[], sl.Run]] = {
    "evaluation on other weights of the same name": lambda: run_of(
        evaluations=evaluations_of(HERE.replace(weights_digest=ROWS))
    ),
    "evaluation on other rows": lambda: run_of(evaluations=evaluations_of(task_digest=ROWS)),
    "fits of two models": lambda: run_of(fits=sl.SiteFits([fake_fit("plural", model=OTHER), fake_fit("antonym")])),
    "control of other rows": lambda: run_of(
        controls={"site_zero_embedding": sl.SiteFits([fake_fit("antonym", task_digest=ROWS)])}
    ),
    "study of another model": lambda: run_of().with_study(
        "transfer", fake_transfer(["antonym", "plural"], n_queries=4, model=OTHER)
    ),
    "study of other rows": lambda: run_of().with_study(
        "sensitivity", fake_sensitivity(tasks=("antonym", "plural"), n_queries=20).replace(task_digests=(ROWS, ROWS))
    ),
}


def test_what_was_made_elsewhere_fails_a_check_and_stands_in_the_report(tmp_path: Path) -> None:
    for what, change in STRANGE.items():
        assert origin(change()).state == "fail", what
    page = sl.write_report(STRANGE["fits of two models"](), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "one_origin" in page.split('id="failed"')[1][:5000]


def test_another_number_format_is_a_warning() -> None:
    run = run_of(evaluations=evaluations_of(HALF))
    assert origin(run).state == "warn"
    assert "bfloat16" in origin(run).meaning


def test_a_run_of_one_piece_passes() -> None:
    assert origin(run_of()).state == "ok"
