"""Runs whose records were made on another model, in another format or on other rows are found out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import site_lens as sl
from site_lens.diagnostics.diagnosis import Finding
from tests.fake_studies import fake_landscape, fake_sensitivity
from tests.fakes import fake_attention, fake_evaluation, fake_fit, fake_identity, fake_transfer

HERE, OTHER = fake_identity(), fake_identity("other-model")
HALF = HERE.replace(dtype="bfloat16")
ROWS = "0" * 64


def run_of() -> sl.Run:
    fit = fake_fit("antonym", model=HERE)
    return sl.Run(
        fits=sl.SiteFits([fit]),
        controls={"site_zero_embedding": sl.SiteFits([fit])},
        evaluations=sl.Evaluations([fake_evaluation("antonym", model=HERE)]),
    )


def origin(run: sl.Run) -> Finding:
    (found,) = [one for one in sl.diagnose(run).of("antonym") if one.code == "one_origin"]
    return found


STRANGE: dict[str, Callable[[sl.Run], sl.Run]] = {
    "evaluation on another model": lambda run: replace(
        run, evaluations=sl.Evaluations([fake_evaluation("antonym", model=OTHER)])
    ),
    "evaluation on other weights of the same name": lambda run: replace(
        run, evaluations=sl.Evaluations([fake_evaluation("antonym", model=HERE.replace(weights_digest=ROWS))])
    ),
    "evaluation on other rows": lambda run: replace(
        run, evaluations=sl.Evaluations([fake_evaluation("antonym", model=HERE, task_digest=ROWS)])
    ),
    "fits of two models": lambda run: replace(
        run, fits=sl.SiteFits([fake_fit("plural", model=OTHER), *run.fits.values()])
    ),
    "fits of two sets of rows": lambda run: replace(
        run, fits=sl.SiteFits([*run.fits.values(), fake_fit("antonym", 1, model=HERE, task_digest=ROWS)])
    ),
    "control of another model": lambda run: replace(
        run, controls={"site_zero_embedding": sl.SiteFits([fake_fit("antonym", model=OTHER)])}
    ),
    "control of other rows": lambda run: replace(
        run, controls={"site_zero_embedding": sl.SiteFits([fake_fit("antonym", model=HERE, task_digest=ROWS)])}
    ),
    "attention of another model": lambda run: replace(
        run, attention=sl.AttentionSamples([fake_attention("antonym", model=OTHER)])
    ),
    "study of another model": lambda run: run.with_study(
        "transfer", fake_transfer(["antonym", "plural"], n_queries=4, model=OTHER)
    ),
    "study of other rows": lambda run: run.with_study(
        "sensitivity", fake_sensitivity(tasks=("antonym", "plural"), n_queries=20).replace(task_digests=(ROWS, ROWS))
    ),
    "landscape of other rows": lambda run: run.with_study(
        "landscape", fake_landscape(task="antonym").replace(task_digest=ROWS)
    ),
}


def test_what_was_made_elsewhere_fails_a_check_and_stands_in_the_report(tmp_path: Path) -> None:
    for what, change in STRANGE.items():
        assert origin(change(run_of())).state == "fail", what
    page = sl.write_report(STRANGE["fits of two models"](run_of()), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "one_origin" in page.split('id="failed"')[1][:5000]


def test_another_number_format_is_a_warning() -> None:
    run = replace(run_of(), evaluations=sl.Evaluations([fake_evaluation("antonym", model=HALF)]))
    assert origin(run).state == "warn"
    assert "bfloat16" in origin(run).meaning


def test_a_run_of_one_piece_passes() -> None:
    assert origin(run_of()).state == "ok"


def test_a_comparison_of_two_models_says_so(tmp_path: Path) -> None:
    one, other = fake_fit("antonym", model=HERE), fake_fit("antonym", model=OTHER)
    mixed = sl.head_overlap({"one": one, "other": other})
    assert any("other-model" in note for note in mixed.notes)
    assert "other-model" in sl.write_comparison(mixed, tmp_path / "c.html").read_text(encoding="utf-8")
    assert sl.head_overlap({"one": one, "other": fake_fit("plural", model=HERE)}).notes == ()
    assert sl.head_overlap({"one": one, "other": fake_fit("antonym", model=HERE, task_digest=ROWS)}).notes
