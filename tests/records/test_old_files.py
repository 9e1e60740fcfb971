"""Files of version 0.1.0 read today: a run with a study of each kind, the other records, and the store of a sweep.

They were made by 0.1.0 with the demo model, two tasks and a few steps; `read_by_0.1.0.json` says what 0.1.0 itself read
in them: shape, sum and largest size of every array, rows of every table, accuracies, and the heads of highest alpha.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.base import Record

FOLDER = Path(__file__).parent.parent / "old_files" / "v0_1_0"
TASKS = ["antonym", "english-french"]


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "read_by_0.1.0.json").read_text())
    return found


def test_every_kind_of_record_is_read_with_the_same_numbers(numbers: dict[str, Any]) -> None:
    for name, then in numbers["records"].items():
        record: Record = sl.load(FOLDER / name)
        arrays, _ = record.parts()
        kept = then["arrays"] if record.schema_version == then["schema"] else then["arrays"].keys() & arrays.keys()
        assert record.kind == then["kind"]
        assert len(record.frame()) > 0, name
        for array in kept:
            shape, total, largest = then["arrays"][array]
            now = arrays[array].astype(np.float64)
            assert list(now.shape) == shape, (name, array)
            assert now.sum() == pytest.approx(total, abs=1e-3), (name, array)
            assert np.abs(now).max(initial=0) == pytest.approx(largest, abs=1e-3), (name, array)
    assert len({then["kind"] for then in numbers["records"].values()}) == 25


def test_a_run_is_read_with_the_same_accuracies_and_heads_and_can_be_reported(
    numbers: dict[str, Any], tmp_path: Path
) -> None:
    run = sl.Run.load(FOLDER / "run")
    assert len(run.studies) == 8
    for name, fit in run.fits.items():
        assert [str(head) for head in sorted(fit.gates.top(5))] == numbers["top"][name]
    evaluations = run.evaluations
    assert evaluations is not None
    assert list(evaluations) == TASKS
    for task, accuracies in numbers["accuracy"].items():
        evaluation = evaluations[task]
        now = [evaluation.accuracy(method) for method in evaluation.methods]
        assert sorted([one.value, one.low, one.high] for one in now) == [
            pytest.approx(one, abs=1e-6) for one in sorted(accuracies.values())
        ]
    assert sl.write_report(run, tmp_path / "report.html").exists()


def test_the_store_of_a_sweep_is_read_and_found_whole(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(FOLDER / "store", folder)
    for part in ("claims", "damaged", "failures", "partial"):  # which 0.1.0 made, and git does not keep
        (folder / part).mkdir(exist_ok=True)
    store = sl.RunStore(folder)
    keys = store.stored_keys()
    assert [store.damage(key, deep=True) for key in keys] == [None, None]
    (run,) = store.runs().values()
    assert sorted(fit.task for fit in run.fits.values()) == TASKS
    assert all(fit.versions["site_lens"] == "0.1.0" for fit in run.fits.values())
