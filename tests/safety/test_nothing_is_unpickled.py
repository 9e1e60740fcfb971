"""No file of ours is pickled and none is ever unpickled: told by the sources, and by trying."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.records.assets import DEMO_MODEL
from tests.fakes import GRID, fake_identity
from tests.safety.test_damaged_files import Touch
from tests.safety.watching import watched

ROOT = Path(sl.__file__).parent.parent

FORBIDDEN = (
    r"^(import|from) .*\b(_pickle|cloudpickle|dill|joblib|marshal|shelve)\b", r"^import .*\bpickle\b",
    r"^from pickle import (?!UnpicklingError$)", r"\bpickle\.\w", "(read|to)_pickle",
    r"\b(np|numpy)\.(load|fromfile)\(", r"torch\.load\((?!.*weights_only=True)",
    r"torch\.(jit\.load|package\.PackageImporter)", r"yaml\.(unsafe_|full_)?load\(", r"(?<![\w.])(eval|exec)\(",
    r"os\.system", r"shell=(?!False)", "allow_pickle=True", r"(^|[(,] ?)trust_remote_code=True",
)  # fmt: skip
"""What reads or writes pickles, or runs text; `np.load` reads pickles in object arrays."""


def is_forbidden(line: str) -> bool:
    return any(re.search(pattern, line.strip()) for pattern in FORBIDDEN)


def test_no_module_pickles_unpickles_or_runs_text() -> None:
    for path in (path for folder in ("site_lens", "analysis") for path in (ROOT / folder).rglob("*.py")):
        assert [line for line in path.read_text(encoding="utf-8").splitlines() if is_forbidden(line)] == [], path
    planted = ("import numpy, pickle", "torch.load(path)", "eval(text)", "    trust_remote_code=True,")
    assert all(map(is_forbidden, planted)) and not is_forbidden("torch.load(path, weights_only=True)")


def test_a_pickle_under_any_name_is_refused_by_every_loader_and_not_run(tmp_path: Path) -> None:
    trap, folder = tmp_path / "ran", tmp_path / "run" / "fits"
    folder.mkdir(parents=True)
    (folder / "antonym.json").touch()
    for suffix in ("safetensors", "jsonl", "csv", "tsv", "parquet", "pt", "pkl", "npy", "npz", "bin", "json"):
        path = folder / f"antonym.{suffix}"
        path.write_bytes(pickle.dumps(Touch(trap)))
        loads: list[tuple[Callable[[Path], Any], Path]] = [
            (sl.load, path), (sl.load_tasks, path), (lambda file: sl.read_published_alphas(file, GRID), path),
            (lambda file: sl.read_head_sets(file, fake_identity(grid=GRID)), path),
            (lambda file: sl.read_head_labels(file, GRID), path),
            (sl.load_tasks, folder), (sl.SiteFits.load, folder), (sl.Run.load, folder.parent),
            (sl.from_hub, folder.parent),
        ]  # fmt: skip
        for load, source in loads:
            with watched(), pytest.raises(sl.SiteLensError):
                load(source)
    assert not trap.exists()


def test_a_model_folder_with_a_pickle_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    for name in ("pytorch_model.bin", "model.safetensors", "tokenizer.json", "config.json"):
        folder = tmp_path / name.replace(".", "_")
        shutil.copytree(DEMO_MODEL, folder)
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Touch(trap), protocol=2))
        with pytest.raises(sl.SiteLensError):
            sl.load_model(folder, device="cpu")
            pytest.fail(f"it was loaded with {name}")
    assert not trap.exists()
