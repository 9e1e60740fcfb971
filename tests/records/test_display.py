import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pydantic import BaseModel

import site_lens as sl
from site_lens.records.type_checks import checked
from tests.fakes import fake_evaluation, fake_fit
from tests.samples import SAMPLES

HOSTILE = "<script>alert(1)</script>\x1b[2J"
GRID = sl.HeadGrid.full(2, 3)
ALPHAS = np.array([[0.9, 0.1, 0.6], [0.0, 0.25, 0.2]])


def small_run(*tasks: str) -> sl.Run:
    fits = sl.SiteFits(fake_fit(task) for task in tasks)
    return sl.Run(fits, {}, sl.Evaluations(fake_evaluation(task, {"zero_shot": 0.1, "site": 0.8}) for task in tasks))


def test_what_jupyter_shows_is_well_formed_and_trusts_no_name() -> None:
    task = sl.Task(HOSTILE, *((sl.Example(HOSTILE, (HOSTILE,)),),) * 3, family=HOSTILE)
    run = small_run(HOSTILE, "plural")
    shown: dict[str, Any] = {kind: sample() for kind, sample in SAMPLES.items()}
    shown |= {"task": task, "run": run, "fits": run.fits, "evaluations": run.evaluations, "fit": run.fits[HOSTILE]}
    shown |= {"diagnosis of run": sl.diagnose(run), "set": sl.HeadSet.of(GRID, ["L0H1"]), "paths": sl.HeadPaths([])}
    for name, record in shown.items():
        html = record._repr_html_()
        assert f"<b>{type(record).__name__}</b>" in html, name
        assert "<script" not in html and "\x1b" not in html, name
        ElementTree.fromstring(html.replace("<style scoped>", "<style>"))  # noqa: S314  # our own
        line = repr(record)
        assert "\n" not in line and "\x1b" not in line and len(line) < 1000, name
        assert not line.endswith("()") or name == "paths", name


def test_the_map_of_a_fit_has_a_cell_for_every_open_head_with_its_name_and_alpha() -> None:
    gates = sl.HeadGates(grid=GRID, values=ALPHAS, task="antonym")
    cells = re.findall(r'fill-opacity="([0-9.]+)"><title>(L\dH\d) ([0-9.]+)</title>', gates._repr_html_())
    assert [head for _, head, _ in cells] == [str(head) for head in GRID if gates[head]]
    for opacity, head, alpha in cells:
        assert float(opacity) == float(alpha) == pytest.approx(gates[head]), head


def test_one_line_has_the_numbers_that_matter() -> None:
    run = small_run("antonym", "plural")
    n_open = len(run.fits["antonym"].gates.above(0.5))
    for line, parts in {
        repr(run): ("2 of 2 tasks", "site 0.800", "zero_shot 0.100", "fake-model"),
        repr(run.fits): ("2 of 2 tasks", f"antonym {n_open} open"),
        repr(run.evaluations): ("site: 0.800", "antonym, plural"),
        repr(run.fits["antonym"]): ("converged", f"{n_open} of "),
        repr(sl.HeadGates(grid=GRID, values=ALPHAS)): ("2 of 6 heads", "L0H0 0.900, L0H2 0.600"),
        repr(sl.HeadGates(grid=GRID, values=ALPHAS).top(2)): ("L0H0 0.900, L0H2 0.600",),
        repr(sl.HeadSet.of(GRID, ["L1H2", "L0H1"])): ("2 of 6 heads", "L0H1, L1H2"),
    }.items():
        assert all(part in line for part in parts), (line, parts)


def test_a_mean_over_fewer_tasks_than_there_are_says_over_how_many() -> None:
    with_hard = fake_evaluation("antonym", {"zero_shot": 0.1, "site_hard": 0.5})
    both = sl.Evaluations([with_hard, fake_evaluation("plural", {"zero_shot": 0.1})])
    assert "site_hard: 0.500 of 1 tasks" in repr(both)


def test_a_task_shows_its_counts_and_a_few_short_rows_never_its_text() -> None:
    rows = tuple(sl.Example(f"input {i} " + "x" * 5000, ("y" * 5000,)) for i in range(50))
    task = sl.Task("long", rows, rows[:7], rows[:9])
    assert all(part in repr(task) for part in ("train: 50", "valid: 7", "test: 9", "input 0"))
    assert len(repr(task)) < 400
    html = task._repr_html_()
    assert "input 2" in html and "input 3" not in html and len(html) < 5000


def test_a_fit_that_kept_its_start_says_so_and_names_no_heads() -> None:
    start = fake_fit("antonym", status="no_improvement", kept_step=0, alphas=np.full((6, 8), 0.5))
    assert start.kept_start and "start kept" in repr(start) and "L0H0" not in repr(start)
    assert "start kept, no map" in start._repr_html_()
    assert "no map" in start.origin
    assert "antonym start kept" in repr(sl.SiteFits([start]))
    assert fake_fit("antonym", status="diverged").status == "no_improvement"  # as files of before called it


def test_tab_completion_offers_our_names_and_not_those_of_pydantic() -> None:
    fit = fake_fit("antonym")
    offered = {name for name in dir(fit) if not name.startswith("_")}
    assert {"gates", "frame", "replace", "kept_start"} <= offered
    assert not offered & set(dir(BaseModel))
    assert fit.model_dump()["task"] == "antonym"


def test_an_argument_of_the_wrong_type_is_told_which_part_of_it_would_do() -> None:
    @checked
    def on_fit(fit: sl.SiteFit) -> None: ...

    @checked
    def on_fits(fits: sl.SiteFits) -> None: ...

    run = small_run("antonym")
    with pytest.raises(sl.InputError, match="hand in its fits"):
        on_fits(run)  # type: ignore[arg-type]
    for given in (run, run.fits):
        with pytest.raises(sl.InputError, match="'antonym'"):
            on_fit(given)  # type: ignore[arg-type]
