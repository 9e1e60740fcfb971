"""No file of ours is pickled and none is ever unpickled: told by the sources, and by trying."""

import ast
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.records.assets import DEMO_MODEL
from tests.fakes import fake_identity
from tests.safety.test_strange_tensors import GRID, Touch
from tests.safety.watching import only_our_errors, watched

ROOT = Path(sl.__file__).parent.parent

FORBIDDEN_MODULES = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "pickle.Unpickler", "pickle.Pickler",
    "pd.read_pickle", "to_pickle", "np.fromfile", "eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "torch.jit.load", "torch.package.PackageImporter", "os.system", "np.load", "numpy.load",
}  # fmt: skip
"""Calls that read or write pickles, or run text; `np.load` reads pickles in object arrays."""

ALLOWED_PICKLE_NAMES = {"UnpicklingError"}


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def offences(name: str, tree: ast.Module) -> list[str]:
    """List what a module does that could run what a file holds, or leave a file that could."""
    found = []
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            found += [f"{where} imports {a.name}" for a in node.names if a.name in FORBIDDEN_MODULES | {"pickle"}]
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if node.module in FORBIDDEN_MODULES or (node.module == "pickle" and names - ALLOWED_PICKLE_NAMES):
                found.append(f"{where} imports {', '.join(names)} of {node.module}")
        elif isinstance(node, ast.Call):
            found += [f"{where} {said}" for said in _call_offences(node)]
    return found


def _call_offences(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    options = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if called in FORBIDDEN_CALLS or called.endswith((".read_pickle", ".to_pickle")):
        yield f"calls {called}"
    if called == "torch.load" and options.get("weights_only") != "True":
        yield "calls torch.load without weights_only=True"
    if options.get("trust_remote_code") == "True":
        yield f"calls {called} with trust_remote_code=True"
    if options.get("allow_pickle", "False") != "False":
        yield f"calls {called} with allow_pickle"
    if options.get("shell", "False") != "False":
        yield f"calls {called} through a shell"


def test_no_module_pickles_unpickles_or_runs_text() -> None:
    assert [offence for name, tree in sources("site_lens", "analysis") for offence in offences(name, tree)] == []


def test_planted_offences_are_seen_and_what_is_harmless_is_let_through() -> None:
    planted = [
        "import pickle", "import numpy, pickle", "from pickle import loads", "import dill", "from joblib import load",
        "pickle.loads(x)", "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)",
        "np.load(path, allow_pickle=True)", "frame.to_pickle(path)", "pandas.read_pickle(path)", "eval(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)", "subprocess.run(text, shell=True)",
        "os.system(text)", "def f():\n    import pickle",
    ]  # fmt: skip
    assert [text for text in planted if not offences("planted", ast.parse(text))] == []
    harmless = "from pickle import UnpicklingError\ntorch.load(path, weights_only=True)\njson.loads(x)"
    assert offences("harmless", ast.parse(harmless)) == []


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
        with only_our_errors():
            sl.load_model(folder, device="cpu")
            pytest.fail(f"it was loaded with {name}")
    assert not trap.exists()
