"""Published labels of heads: read with care, joined with head sets, and judged against chance."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.stats.paired_tests import SIGNIFICANT
from tests.fakes import GRID, fake_fit, fake_fits
from tests.samples import laws

RAGGED = sl.HeadGrid((4, 0, 2))


def labels_of(grid: sl.HeadGrid = GRID, **heads: list[str]) -> sl.HeadLabels:
    rows = tuple((sl.Head.parse(name), label, "") for label, names in heads.items() for name in names)
    return sl.HeadLabels(grid, rows)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# Reading


def test_a_head_may_have_several_labels_and_a_label_several_sources_whatever_the_order_of_columns(
    tmp_path: Path,
) -> None:
    lines = ("head,layer,score,label,source", "0,2,.1,induction,Olsson 2022", "5,0,.1,previous token,")
    more = ("0,2,.1,induction,ours", '0, 2,.1,"name mover",Wang 2022')
    labels = sl.read_head_labels(table(tmp_path / "labels.csv", *lines, *more), GRID)
    heads = {"induction": "{L2H0}", "previous token": "{L0H5}", "name mover": "{L2H0}"}
    assert {label: str(of_label) for label, of_label in labels.sets.items()} == heads
    assert labels.of(sl.Head(2, 0)) == ("induction", "name mover") and labels.of(sl.Head(3, 3)) == ()
    assert labels.frame()["source"].tolist() == ["Olsson 2022", "", "ours", "Wang 2022"]


def test_what_is_no_table_of_labels_ends_in_one_line(tmp_path: Path) -> None:
    head = "layer,head,label"
    for lines in (
        ["layer,head", "0,1"],
        ["layer,head,role", "0,1,induction"],
        [head, "6,0,induction"],  # beyond the grid of 6 layers
        [head, "-1,0,induction"],
        [head, "0,1.5,induction"],
        [head, "0,1,"],
        [head, "0,1,induction", "0,1,induction"],
        [head],
        [head + ",head", "0,1,induction,2"],
    ):
        with pytest.raises(sl.InputError) as refused:
            sl.read_head_labels(table(tmp_path / "labels.csv", *lines), GRID)
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 400, lines
    for name in ("missing.csv", "labels.json"):
        with pytest.raises(sl.InputError):
            sl.read_head_labels(tmp_path / name, GRID)
    with pytest.raises(sl.InputError):  # a layer without heads
        sl.read_head_labels(table(tmp_path / "labels.csv", head, "1,0,induction"), RAGGED)


# Joining


@laws
@given(st.sets(st.sampled_from(list(GRID)), min_size=1), st.sets(st.sampled_from(list(GRID)), min_size=1))
def test_chance_is_that_of_head_overlap(one: set[sl.Head], other: set[sl.Head]) -> None:
    heads, labelled = sl.HeadSet(GRID, frozenset(one)), sl.HeadSet(GRID, frozenset(other))
    (test,) = sl.label_overlap({"task": heads}, sl.HeadLabels(GRID, tuple((head, "x", "") for head in other))).tests
    overlap = sl.head_overlap({"task": sl.HeadGates.of(heads), "x": sl.HeadGates.of(labelled)}, k=1)
    assert test.p_value == test.q_value == pytest.approx(float(overlap.p_value[0, 1]), rel=1e-4)
    assert test.by_chance == pytest.approx(overlap.by_chance("task", "x"))
    assert overlap.findable is not None and test.findable == overlap.findable[0, 1]
    assert test.shared == heads & labelled


def test_a_planted_overlap_is_found_and_one_of_too_few_heads_gets_no_verdict() -> None:
    sets = {"antonym": sl.HeadSet.of(GRID, ["L1H0", "L2H3", "L2H5", "L4H4", "L5H1"])}
    labels = labels_of(induction=["L1H0", "L2H3", "L2H5", "L4H4"], copying=["L5H1"], other=["L1H1", "L2H1", "L4H1"])
    overlap = sl.label_overlap(sets, labels)
    assert {test.label: test.verdict for test in overlap.tests} == {
        "induction": "above",
        "copying": "too few",  # one head in eight: shared by chance in one of eight draws
        "other": "not found",
    }
    frame = overlap.frame().set_index("label")
    assert frame["n_shared"].to_dict() == {"induction": 4, "copying": 1, "other": 0}
    heads = overlap.heads_frame()
    assert heads.set_index("head")["labels"].to_dict() == dict.fromkeys(
        ("L1H0", "L2H3", "L2H5", "L4H4"), "induction"
    ) | {"L5H1": "copying"}
    assert all("\n" not in test.sentence for test in overlap.tests)


def test_labels_that_lie_in_the_same_layers_and_no_more_are_hardly_ever_found() -> None:
    pattern = sl.HeadSet.random(GRID, 16, seed=0)
    found = 0
    for seed in range(60):
        task, label = (sl.HeadSet.random_like(pattern, seed=2 * seed + i) for i in range(2))
        labels = sl.HeadLabels(GRID, tuple((head, "x", "") for head in label))
        found += sl.label_overlap({"task": task}, labels).tests[0].verdict == "above"
    assert found <= 60 * SIGNIFICANT * 2


def test_a_run_stands_for_its_sets_and_tasks_without_heads_are_left_out() -> None:
    alphas = np.zeros(GRID.shape)
    alphas[1, 0] = 0.9
    run = sl.Run(sl.SiteFits([fake_fit("one", alphas=alphas), fake_fit("none", alphas=0 * alphas)]))
    overlap = sl.label_overlap(run, labels_of(induction=["L1H0"]))
    assert [(test.name, str(test.shared)) for test in overlap.tests] == [("one", "{L1H0}")]
    assert sl.label_overlap({"none": sl.HeadSet.of(GRID, [])}, labels_of(a=["L0H0"])).frame().empty


def test_sets_of_another_grid_and_no_sets_are_refused() -> None:
    labels = labels_of(induction=["L1H0"])
    with pytest.raises(sl.MismatchError):
        sl.label_overlap({"task": sl.HeadSet.of(RAGGED, ["L0H0"])}, labels)
    with pytest.raises(sl.InputError):
        sl.label_overlap({}, labels)
    assert sl.label_overlap(sl.Run(fake_fits(["antonym"])), labels).tests
