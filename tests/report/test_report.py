import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from plotly.offline import get_plotlyjs

from site_lens.heads.head_set import HeadGrid
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import SHUFFLED_ANSWERS, ZERO_EMBEDDING
from site_lens.records.errors import InputError, StorageError
from site_lens.report import write_report
from site_lens.report.headline import Headline, compare
from site_lens.runs.run import Run
from site_lens.site.fit import STATUSES, SiteConfig, SiteFits, Status
from site_lens.site.head_path import HeadPaths
from tests.fakes import ACCURACIES, fake_evaluation, fake_fit, fake_fits, fake_identity
from tests.site.test_head_path import fake_path

NAUGHTY = "<script>alert(1)</script>"
TASKS = ["antonym", "synonym", NAUGHTY, "capitalize", "present-past", "plural", "capital", "sentiment"]


def evaluations(tasks: list[str] = TASKS, accuracies: dict[str, float] | None = None) -> Evaluations:
    return Evaluations(fake_evaluation(task, accuracies) for task in tasks)


def report(folder: Path, fits: SiteFits, **options: object) -> str:
    """Write a report and return it without the text of plotly.js."""
    path = write_report(fits, folder / "report.html", **options)  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8").replace(get_plotlyjs(), "")


def words(page: str) -> str:
    """Return the text of a page as a reader sees it."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", "", page, flags=re.S)))


def numbers(page: str, figure: str) -> dict[str, list[Any]]:
    """Return the table behind a figure."""
    found = re.search(rf'<details class="numbers" data-of="{figure}">.*?<script[^>]*>(.*?)</script>', page, flags=re.S)
    assert found is not None
    table: dict[str, list[Any]] = json.loads(found[1])
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
    first = write_report(fake_fits(TASKS), tmp_path / "a.html", evaluations=evaluations())
    second = write_report(fake_fits(TASKS), tmp_path / "b" / "b.html", evaluations=evaluations())
    assert first.read_bytes() == second.read_bytes()
    assert second == tmp_path / "b" / "b.html"


def test_plotly_is_inlined_exactly_once(tmp_path: Path) -> None:
    path = write_report(
        fake_fits(TASKS), tmp_path / "r.html", evaluations=evaluations(), controls={ZERO_EMBEDDING: fake_fits(["a"])}
    )
    assert path.read_text(encoding="utf-8").count(get_plotlyjs()) == 1
    assert path.stat().st_size < 6.5e6


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attributes in Tags(page).found:
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value[:80])
    assert not re.search(r"@import|url\(|import\(|\bfetch\(", page)
    policy = next(a["content"] for tag, a in Tags(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_names_from_the_data_never_become_markup(page: str) -> None:
    assert NAUGHTY not in page
    assert "alert(1)" in words(page)
    kinds = [attributes.get("type") for tag, attributes in Tags(page).found if tag == "script"]
    assert kinds.count(None) == 2  # plotly.js and the page's own


def test_every_text_of_a_record_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(2)>"
    fit = fake_fit(evil, model=fake_identity(evil, revision=evil), notes=(evil,), family=evil, shared_with=(evil,))
    fit = fit.replace(versions={evil: evil}, template=fit.template.replace(instruction=evil))
    one = fake_evaluation(evil, {evil: 0.5, "site": 1.0}, notes=(evil,))
    page = report(
        tmp_path,
        SiteFits([fit]),
        evaluations=Evaluations([one]),
        title=evil,
        controls={ZERO_EMBEDDING: SiteFits([fit])},
    )
    assert "<img" not in page
    assert "img" not in [tag for tag, _ in Tags(page).found]


def test_figures_have_fixed_ids_and_each_its_data(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Tags(page).found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for name in ("accuracy", "head-maps", "head-map-1", "training-3"):
        assert name in ids
        assert f"{name}-data" in ids


def test_brackets_of_key_value_heads_stand_where_their_number_is_known(tmp_path: Path, page: str) -> None:
    grouped = fake_fits(["a"], model=fake_identity(n_kv_heads=4))
    assert "one key-value head each" in report(tmp_path, grouped)
    assert "one key-value head each" not in page


def test_a_figure_with_many_names_scrolls_where_the_page_is_narrower(tmp_path: Path, page: str) -> None:
    many = report(tmp_path, fake_fits([f"task {i}" for i in range(30)]))
    for name in ("similarity", "task-tree"):
        found = re.search(rf'<figure class="plot scroll">\s*<div [^>]*id="{name}" style="[^"]*min-width: (\d+)px', many)
        assert found is not None
        assert int(found[1]) > 400
    assert "min-width: " not in page[page.index("<main>") :]


def test_the_headline_names_the_gain_the_interval_and_the_gates_alone(page: str) -> None:
    text = words(page)
    assert "SITE beats 10-shot prompting: +0.150 [+0.0" in text
    assert "The content of the task embedding adds to the gates: +0.550 [+0.4" in text
    assert "site_zero_embedding 0.300" in text


def test_the_headline_says_when_site_does_not_win(tmp_path: Path) -> None:
    for site, zero, expected in (
        (0.4, 0.1, "SITE falls short of 10-shot prompting: -0.300 ["),
        (0.7, 0.1, "No difference found between SITE and 10-shot prompting: +0.000 ["),
        (0.9, 0.9, "No difference found between SITE and the gates alone: +0.000 ["),
        (0.5, 0.9, "The gates alone do better than SITE: -0.400 ["),
    ):
        measured = evaluations(accuracies={"ten_shot": 0.7, "site": site, "site_zero_embedding": zero})
        headline = compare(measured, "first_token")
        assert isinstance(headline, Headline)
        assert any(expected in contrast.verdict for contrast in headline.contrasts)


def test_without_the_gates_alone_there_is_no_comparison(tmp_path: Path) -> None:
    planted = {name: share for name, share in ACCURACIES.items() if name != "site_zero_embedding"}
    text = words(report(tmp_path, fake_fits(TASKS), evaluations=evaluations(accuracies=planted)))
    assert "SITE is not compared with 10-shot prompting here: site_zero_embedding was not evaluated" in text
    assert "beats" not in text


def test_a_single_task_takes_its_intervals_from_its_queries(tmp_path: Path) -> None:
    text = words(report(tmp_path, fake_fits(["antonym"]), evaluations=evaluations(["antonym"])))
    assert "one task; 95% intervals over its test queries" in text
    assert re.search(r"SITE and 10-shot prompting: \+0\.150 \[-[\d.]+, \+[\d.]+\] over 40 queries, p = ", text)


def test_few_tasks_get_no_verdict(tmp_path: Path) -> None:
    few = TASKS[:3]
    text = words(report(tmp_path, fake_fits(few), evaluations=evaluations(few)))
    assert "mean over 3 tasks, each counting once; 95% t intervals over tasks" in text
    assert "SITE minus 10-shot prompting: +0.150" in text
    assert "No verdict: it takes 6 tasks" in text
    assert "SITE beats" not in text


def test_tasks_that_lack_a_method_do_not_enter_the_comparison(tmp_path: Path) -> None:
    mixed = Evaluations([fake_evaluation("antonym"), fake_evaluation("synonym", {"ten_shot": 1.0, "odd": 0.5})])
    text = words(report(tmp_path, fake_fits(["antonym", "synonym"]), evaluations=mixed))
    assert "on 1 of 2 evaluated tasks" in text
    assert "ten_shot 0.700" in text
    assert "No description here" in text


def test_without_evaluations_the_report_says_so(tmp_path: Path) -> None:
    for nothing in (None, Evaluations([])):
        text = words(report(tmp_path, fake_fits(TASKS), evaluations=nothing))
        assert "Nothing was evaluated." in text
        assert "10-shot prompting" not in text.split("Words")[0]


def test_the_numbers_behind_the_figure_hold_every_accuracy(page: str) -> None:
    table = numbers(page, "accuracy")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    by_place = {(row["task"], row["method"]): row for row in rows if row["metric"] == "first_token"}
    assert len(by_place) == len(TASKS) * len(ACCURACIES)
    for task in TASKS:
        for method, share in ACCURACIES.items():
            expected = fake_evaluation(task).accuracy(method)
            row = by_place[task, method]
            assert float(row["value"]) == pytest.approx(share)
            assert float(row["low"]) == pytest.approx(expected.low, rel=1e-4)
            assert int(row["n"]) == 40


def test_every_task_has_a_section_with_heads_state_settings_and_provenance(page: str) -> None:
    fit = fake_fit("antonym")
    best = fit.frame().sort_values("rank").iloc[0]
    text = words(page[page.index('id="fit-1"') : page.index('id="fit-2"')])
    for expected in (
        f"L{best['layer']:.0f}H{best['head']:.0f}",
        STATUSES["converged"],
        fit.digest,
        fit.embedding.model.weights_digest,
        "torch 2.13.0",
        "batch_size",
    ):
        assert expected in text


def test_broken_fits_are_named_before_anything_else(tmp_path: Path) -> None:
    fits = SiteFits(fake_fit(task, status="diverged" if task == "synonym" else "converged") for task in TASKS)
    text = words(report(tmp_path, fits, evaluations=evaluations()))
    assert text.index("1 check failed synonym") < text.index("SITE beats")


def test_records_that_do_not_belong_together_are_pointed_out(tmp_path: Path) -> None:
    other = fake_evaluation("stranger", {"five_shot": 0.5, "site": 0.5}, model=fake_identity("other-model"), n_shots=5)
    both = Evaluations([fake_evaluation("antonym"), other])
    text = words(report(tmp_path, fake_fits(["antonym"]), evaluations=both))
    assert "stranger was evaluated, but there is no fit of it here." in text
    assert "stranger was evaluated on other weights (other-model)" in text
    assert "Few-shot prompting showed 5 or 10 demonstrations" in text
    assert "No comparison with few-shot prompting" in text


def test_settings_that_differ_are_shown_as_differing(tmp_path: Path) -> None:
    fits = SiteFits([fake_fit("a"), fake_fit("b", config=SiteConfig(lr=0.5))])
    assert "lr differs: 0.2, 0.5" in words(report(tmp_path, fits)).replace("lrdiffers", "lr differs")


def test_controls_are_shown_with_what_makes_them_controls(tmp_path: Path) -> None:
    controls = fake_fits(["antonym"], config=SiteConfig(null="shuffled_answers"))
    page = report(tmp_path, fake_fits(["antonym"]), controls={SHUFFLED_ANSWERS: controls})
    assert f'id="{SHUFFLED_ANSWERS}-maps"' in page
    assert "shuffled" in words(page)


def test_the_spread_over_seeds_is_that_of_fits_which_differ_in_nothing_else(tmp_path: Path) -> None:
    fits = [
        fake_fit("a", 0),
        fake_fit("a", 1, config=SiteConfig(lr=0.5)),
        fake_fit("a", 2, model=fake_identity("other")),
    ]
    assert 'id="spread-1"' not in report(tmp_path, SiteFits(fits))
    page = report(tmp_path, SiteFits([*fits, fake_fit("a", 3)]))
    assert 'id="spread-1"' in page
    assert "2 seeds" in page


def test_seeds_grids_and_layers_without_heads_can_be_mixed(tmp_path: Path) -> None:
    small = fake_identity("small", grid=HeadGrid((2, 0, 1)))
    fits = SiteFits([fake_fit("a", 0), fake_fit("a", 1), fake_fit("b", model=small)])
    text = words(report(tmp_path, fits, evaluations=evaluations(["a"])))
    assert "a#0" in text
    assert "made on different models" in text


def test_every_state_of_a_fit_is_explained() -> None:
    assert set(STATUSES) == set(get_args(Status))


def test_no_fits_and_unwritable_places_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fits to report; fit some tasks first"):
        write_report(SiteFits([]), tmp_path / "r.html")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="choose another output folder"):
        write_report(fake_fits(["a"]), tmp_path / "file" / "r.html")


def test_plots_and_report_need_neither_torch_nor_a_model(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.fakes import fake_evaluation, fake_fits\n"
        "import site_lens.plots\n"
        "from site_lens.methods.evaluation import Evaluations\n"
        "from site_lens.report import write_report\n"
        "write_report(fake_fits(['a']), sys.argv[1], evaluations=Evaluations([fake_evaluation('a')]))\n"
        "loaded = {'torch', 'transformer_lens', 'transformers', 'circuitsvis'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, tmp_path / "r.html"], cwd=root, check=True, timeout=120)
    assert (tmp_path / "r.html").exists()


def test_the_page_begins_with_the_heads_that_carry_each_task(tmp_path: Path) -> None:
    found = fake_path(((8, 8), (2, 3)), ((0.5, 0.5), (0.5, 0.51)), prices=(-0.01, 0.01))
    never = fake_path(((4,), (2,)), ((1.95,), (1.97,)), prices=(0.0, 0.01), noise=0.3, shared_noise=0.01)
    paths = HeadPaths([found, never.replace(task="synonym")])
    fits = fake_fits(["antonym", "synonym"], model=found.model)
    page = write_report(Run(fits, paths=paths), tmp_path / "r.html").read_text(encoding="utf-8")
    assert 0 < page.index('id="head-sets-section"') < page.index('id="summary"')
    assert found.chosen is not None
    text = words(page)
    assert " ".join(map(str, found.chosen.heads)) in text and "no set found" in text
    assert "No set does better than zero-shot on valid for synonym." in text
    table = numbers(page, "head-sets")
    chosen = [row[table["columns"].index("chosen")] for row in table["rows"]]
    assert chosen.count(True) == len(found.chosen.heads) and len(chosen) == 16
    assert 'id="head-sets-section"' not in report(tmp_path, fits)
