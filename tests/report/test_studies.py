"""Experiments in the report: a block for every kind of record, with its verdict in words and its numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.records.base import Record
from site_lens.report.studies import _BLOCKS, study_blocks
from tests.fake_studies import fake_content, fake_landscape, fake_sensitivity
from tests.fakes import fake_fits, fake_transfer
from tests.plots.test_faithfulness_plot import fake_faithfulness
from tests.small_experiments import fake_ablation, fake_arithmetic
from tests.studies.test_roles import planted_profiles, transfer_between

STUDIES: dict[str, tuple[Callable[[], Record], str]] = {
    "transfer": (lambda: fake_transfer("abcdefgh"), "does not transfer"),
    "faithfulness": (fake_faithfulness, "Smallest set in SITE's order"),
    "sensitivity": (fake_sensitivity, "M=1 does as well as M=50: no"),
    "landscape": (lambda: fake_landscape(n_fits=16), "one basin"),
    "content": (fake_content, "of SITE's gain"),
    "ablation": (lambda: fake_ablation({"default": 0.5, "up": 0.8}), "up: "),
    "arithmetic": (lambda: fake_arithmetic([0.9], [0.1], weights=[0.5]), "at once"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_words_figures_and_the_numbers_behind_them(name: str) -> None:
    make, said = STUDIES[name]
    (block,) = study_blocks({name: make()})
    assert said in " ".join(block.lines)
    assert block.figures
    assert all(figure.table is not None for figure in block.figures)


def test_every_kind_that_is_shown_is_tried_here_but_profiles() -> None:
    tried = {type(make()) for make, _ in STUDIES.values()}
    assert {kind.__name__ for kind in set(_BLOCKS) - tried} == {"HeadProfiles"}  # tests/experiments makes real ones


def test_the_page_shows_the_studies_of_a_run_and_nothing_without(tmp_path: Path) -> None:
    fits = fake_fits("abcde")
    plain = sl.write_report(sl.Run(fits), tmp_path / "plain.html").read_text(encoding="utf-8")
    run = sl.Run(fits, studies={"transfer": fake_transfer("abcde"), "land": fake_landscape(task="<script>x")})
    shown = sl.write_report(run, tmp_path / "studies.html").read_text(encoding="utf-8")
    assert 'id="studies"' not in plain
    assert "Transfer between tasks" in shown
    assert "The landscape of &lt;script&gt;x" in shown
    assert "<script>x" not in shown


def test_roles_are_held_against_transfer_where_a_run_has_both() -> None:
    kinds = (0, 1) * 4
    studies = {"profiles": planted_profiles(kinds), "transfer": transfer_between(kinds)}
    *_, block = study_blocks(studies)
    assert block.heading.startswith("Do tasks whose alphas transfer use heads of the same role?")
    said = " ".join(block.lines)
    assert "rank correlation" in said
    assert "p = " in said
    *_, few = study_blocks({"profiles": planted_profiles((0, 1), "ab"), "transfer": transfer_between((0, 1), "ab")})
    assert "Not tested: needs 5 tasks" in few.lines[0]


def test_a_record_that_is_no_study_is_refused_by_its_kind() -> None:
    with pytest.raises(sl.InputError, match="holds a site_fit, which the report does not show"):
        study_blocks({"mine": fake_fits("a")["a"]})
