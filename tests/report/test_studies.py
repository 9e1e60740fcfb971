"""Studies in the report: each has sections with its verdict in words, its figures and their tables."""

from collections.abc import Callable
from pathlib import Path

import site_lens as sl
from site_lens.records.base import Record
from site_lens.records.study_registry import STUDIES, imported
from site_lens.report.report import study_sections
from tests import fake_studies as fake
from tests.fakes import fake_fits, fake_transfer
from tests.plots.test_faithfulness_plot import fake_faithfulness
from tests.report.test_report import report
from tests.studies.test_roles import planted_profiles, transfer_between

PLANTED: dict[str, tuple[Callable[[], Record], str]] = {
    "transfer_matrix": (lambda: fake_transfer("abcdefgh"), "does not transfer"),
    "faithfulness": (fake_faithfulness, "Smallest set in SITE's order"),
    "prompt_sensitivity": (fake.fake_sensitivity, "M=1 does as well as M=50: no"),
    "fit_landscape": (lambda: fake.fake_landscape(n_fits=16), "one basin"),
    "head_profiles": (lambda: planted_profiles((0, 1), "ab"), "what the last token attends to"),
    "text_profiles": (fake.fake_text_profiles, "L0H1: first token 25%, token before 85%, induction 12%"),
    "content_controls": (fake.fake_content, "of SITE's gain"),
    "fit_ablation": (lambda: fake.fake_ablation({"default": 0.5, "up": 0.8}), "up: "),
    "task_arithmetic": (lambda: fake.fake_arithmetic([0.9], [0.1], weights=[0.5]), "at once"),
}


def test_every_study_has_a_section_with_words_figures_and_the_numbers_behind_them() -> None:
    assert set(PLANTED) == set(STUDIES)
    for kind, (make, words) in PLANTED.items():
        record = make()
        assert type(record) is imported(STUDIES[kind].result)
        (section,) = study_sections({"name": record})
        assert words in " ".join((*section.lines, *section.entries.values())), kind
        assert section.figures and all(part.table is not None for part in section.figures), kind


def test_the_page_shows_the_studies_of_a_run_and_nothing_without(tmp_path: Path) -> None:
    fits = fake_fits("abcde")
    studies: dict[str, Record] = {"transfer": fake_transfer("abcde"), "land": fake.fake_landscape(task="a<b")}
    shown = report(tmp_path, sl.Run(fits, studies=studies))
    assert "Transfer between tasks" in shown and "The landscape of a&lt;b" in shown
    assert 'id="studies"' not in report(tmp_path, fits)


def test_roles_are_held_against_transfer_where_a_run_has_both() -> None:
    kinds = (0, 1) * 4
    studies = {"profiles": planted_profiles(kinds), "transfer": transfer_between(kinds)}
    _, roles, _ = study_sections(studies)
    assert roles.heading.startswith("Do tasks whose alphas transfer use heads of the same role?")
    assert "rank correlation" in " ".join(roles.lines) and "p = " in " ".join(roles.lines)
    _, few, _ = study_sections({"profiles": planted_profiles((0, 1), "ab"), "transfer": transfer_between((0, 1), "ab")})
    assert few.lines[0].startswith("Not tested: needs 5 tasks")
