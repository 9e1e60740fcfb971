import base64
import gzip
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.methods.evaluation import Evaluations
from site_lens.report import write_report
from site_lens.report.figures import table_json
from site_lens.report.headline import compare
from site_lens.report.report import report_parts
from site_lens.runs.run import Run
from site_lens.site.fit import STATUSES, SiteFits
from site_lens.site.head_path import HeadPaths
from tests.fake_studies import fake_text_profiles
from tests.fakes import ACCURACIES, fake_evaluation, fake_fit, fake_fits
from tests.site.test_head_path import fake_path

NAUGHTY = "<script>alert(1)</script>"
TASKS = ["antonym", "synonym", NAUGHTY, "capitalize", "present-past", "plural", "capital", "sentiment"]


def evaluations(tasks: list[str] = TASKS, accuracies: dict[str, float] | None = None) -> Evaluations:
    return Evaluations(fake_evaluation(task, accuracies) for task in tasks)


def report(folder: Path, run: Run | SiteFits, **options: Any) -> str:
    """Write a report and return it."""
    return write_report(run, folder / "report.html", **options).read_text(encoding="utf-8")


def words(page: str) -> str:
    """Return the text of a page as a reader sees it."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", "", page, flags=re.S)))


def unpacked(text: str) -> str:
    """Return the text of a compressed script element."""
    return gzip.decompress(base64.b64decode(text)).decode()


def numbers(page: str, figure: str) -> dict[str, list[Any]]:
    """Return the table behind a figure."""
    found = re.search(rf'<details class="numbers" data-of="{figure}">.*?<script[^>]*>(.*?)</script>', page, flags=re.S)
    assert found is not None
    table: dict[str, list[Any]] = json.loads(unpacked(found[1]))
    return table


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(tmp_path_factory.mktemp("report"), fake_fits(TASKS), evaluations=evaluations())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    few = TASKS[:2]
    first = write_report(fake_fits(few), tmp_path / "a.html", evaluations=evaluations(few))
    second = write_report(fake_fits(few), tmp_path / "b" / "b.html", evaluations=evaluations(few))
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attributes in Tags(page).found:
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value[:80])
    assert not re.search(r"@import|url\(|import\(|\bfetch\(", page)
    (policy,) = (a["content"] for _, a in Tags(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; script-src 'sha256-")


def test_the_headline_names_gains_and_says_when_site_does_not_win(page: str) -> None:
    text = words(page)
    assert "SITE beats 10-shot prompting: +0.150 [+0.0" in text
    assert "The content of the task embedding adds to the gates: +0.550 [+0.4" in text
    assert "gates alone 0.300" in text
    for site, zero, expected in (
        (0.4, 0.1, "SITE falls short of 10-shot prompting: -0.300 ["),
        (0.7, 0.1, "No difference found between SITE and 10-shot prompting: +0.000 ["),
        (0.9, 0.9, "No difference found between SITE and the gates alone: +0.000 ["),
        (0.5, 0.9, "The gates alone do better than SITE: -0.400 ["),
    ):
        measured = evaluations(accuracies={"ten_shot": 0.7, "site": site, "site_zero_embedding": zero})
        headline = compare(measured, "first_token")
        assert isinstance(headline, dict)
        assert any(expected in verdict for verdict, _ in headline["contrasts"])


def test_the_numbers_behind_the_figure_hold_every_accuracy(page: str) -> None:
    table = numbers(page, "accuracy")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    by_place = {(row["task"], row["method"]): row for row in rows if row["metric"] == "first_token"}
    assert len(by_place) == len(TASKS) * len(ACCURACIES)
    for (task, method), row in by_place.items():
        expected = fake_evaluation(task).accuracy(method)
        assert (row["value"], row["n"]) == (pytest.approx(ACCURACIES[method]), 40)
        assert row["low"] == pytest.approx(expected.low, rel=1e-4)


def test_every_task_has_a_section_with_heads_state_settings_and_provenance(page: str) -> None:
    fit = fake_fit("antonym")
    text = words(page[page.index('id="fit-1"') : page.index('id="fit-2"')])
    for expected in (
        *map(str, fit.gates.top(1)), STATUSES["converged"], fit.digest, fit.embedding.model.weights_digest,
        "torch 2.13.0", "batch_size",
    ):  # fmt: skip
        assert expected in text


def test_the_page_begins_with_the_heads_that_carry_each_task_and_what_they_reach(tmp_path: Path) -> None:
    found = fake_path(((8, 8), (4, 4), (2, 3)), ((0.5, 0.5), (0.5, 0.5), (0.5, 0.51)), prices=(-0.01, 0.0, 0.01))
    never = fake_path(((4,), (2,)), ((1.95,), (1.97,)), prices=(0.0, 0.01), noise=0.3, shared_noise=0.01)
    paths = HeadPaths([found, never.replace(task="synonym")])
    fits = fake_fits(["antonym", "synonym"], model=found.model)
    measured = fake_evaluation("antonym", {"zero_shot": 0.1, "ten_shot": 0.2, "site": 0.85, "site_sparse": 0.8})
    run = Run(fits, paths=paths, evaluations=Evaluations([measured]))
    table = report_parts(run)["map_figure"].table
    means = np.concatenate([gates.values[gates.grid.mask] for path in paths.values() if (gates := path.mean_gates)])
    np.testing.assert_array_equal(table["mean_alpha"], means)  # the numbers of the maps, beside those of the fits
    page = report(tmp_path, run)
    assert 0 < page.index('id="head-sets-section"') < page.index('id="how-sure"') < page.index('id="summary"')
    assert found.chosen is not None
    first_screen = page[page.index('id="head-sets-section"') : page.index('id="how-sure"')]
    text = words(first_screen)
    assert " ".join(map(str, found.chosen.heads)) in text and "No set was found for synonym" in text
    assert "2 of 8 heads are enough for antonym." in text
    assert "right on 32 of 40 queries, after 10 examples on 8 of 40 queries, without any of this on 4 of 40" in text
    cells = re.findall(r'<path class="chosen" d="([^"]*)"', first_screen)
    assert [len(re.findall("M", drawn)) for drawn in cells] == [len(found.chosen.heads)]
    table = numbers(page, "head-sets")
    chosen = [row[table["columns"].index("chosen")] for row in table["rows"]]
    assert chosen.count(True) == len(found.chosen.heads) and len(chosen) == 16
    assert ">Jaccard index</th>" in page  # how far several fits agree
    assert 'id="head-sets-section"' not in report(tmp_path, fits)


def test_paths_over_another_grid_than_the_fits_leave_the_maps_those_of_the_fits() -> None:
    path = fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))
    figure = report_parts(Run(fake_fits([path.task]), paths=HeadPaths([path])))["map_figure"]
    assert figure.table is not None and len(figure.table) == 48 and "mean_alpha" not in figure.table


def test_the_page_shows_what_the_model_says(tmp_path: Path) -> None:
    measured = fake_evaluation("antonym", {"zero_shot": 0.0, "site": 1.0}, n_queries=30)
    said = tuple(tuple(f" {name}{i} {NAUGHTY}" for i in range(30)) for name in ("wrong", "right"))
    kept = Evaluations([measured.replace(top_tokens=said, prompt="Q: hot\nA: cold")])
    page = report(tmp_path, fake_fits(["antonym"]), evaluations=kept)
    section = page[page.index('id="examples"') : page.index('id="summary"')]
    assert NAUGHTY not in section and "Q: hot" in section
    right = re.findall(r'<td class="right">(.*?)</td>', section)
    assert right and all("right" in answer for answer in right) and "wrong0" in words(section)
    assert 'id="examples"' not in report(tmp_path, fake_fits(["antonym"]), evaluations=Evaluations([measured]))


def test_matrices_and_groups_of_tasks_come_with_eight_tasks(tmp_path: Path, page: str) -> None:
    few = report(tmp_path, fake_fits(TASKS[:2]))
    assert 'id="similarity"' not in few and 'id="task-tree"' not in few
    assert head_overlap(fake_fits(TASKS[:2])).sentence("antonym", "synonym") in words(few)
    assert 'id="similarity"' in page and 'id="task-tree"' in page


def test_heads_open_in_the_fits_of_all_seeds_are_named(tmp_path: Path) -> None:
    alphas = fake_fit("antonym").gates.values
    other = alphas.copy()
    other[:5] = 1 - other[:5]
    page = report(tmp_path, SiteFits([fake_fit("antonym", 0, alphas), fake_fit("antonym", 1, other)]))
    in_both = [head for head in fake_fit("antonym").gates.above(0.5) if head.layer == 5]
    assert 'id="seeds"' in page and in_both
    assert f"open in all 2 fits: {', '.join(map(str, in_both))}." in words(page)


def test_a_chosen_head_leads_to_what_it_does_on_text_of_the_same_model(tmp_path: Path) -> None:
    path = fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))
    chosen = [str(head) for head in path.ranked]
    profiles = fake_text_profiles(heads=(chosen[1], "L1H1"), grid=path.model.grid)
    run = Run(fake_fits(["antonym"], model=path.model), paths=HeadPaths([path]), studies={"text_profiles": profiles})
    page = report(tmp_path, run)
    links = re.findall(r'href="#(text_profiles-[^"]*)"', page)
    assert links == [f"text_profiles-{chosen[1]}"]
    assert f'id="{links[0]}"' in page
    assert ">Jaccard index</th>" not in page  # of one fit
    of_another = profiles.replace(model=profiles.model.model_copy(update={"name": "another"}))
    other = report(tmp_path, replace(run, studies={"text_profiles": of_another}))
    assert 'href="#text_profiles-' not in other


def test_numbers_that_are_not_finite_are_empty_cells_of_valid_json() -> None:
    table = pd.DataFrame({"a": [1.0, np.inf, -np.inf, np.nan]})
    assert json.loads(unpacked(table_json(table)))["rows"] == [[1.0], [None], [None], [None]]
