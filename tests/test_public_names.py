"""The lazy door: every public name opens, and nothing heavy is loaded before it is needed."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import site_lens as sl
from site_lens._public import public_names
from tests.test_floors import may_import_torch

PACKAGE = Path(sl.__file__).parent
ROOT = PACKAGE.parent


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return which heavy packages it loaded."""
    heavy = ("torch", "transformer_lens", "transformers", "pandas", "plotly", "datasets", "circuitsvis", "sklearn")
    program = f"import sys\n{code}\nprint(' '.join(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def modules_without_torch(*rooms: str) -> str:
    """Write the import of every module of some rooms that may not import torch."""
    paths = [path for room in rooms for path in sorted((PACKAGE / room).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return "import " + ", ".join(name for name in names if not may_import_torch(name))


def test_every_public_name_opens_as_itself_after_every_module_was_imported() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for package in (sl, sl.plots):
        for name, home in public_names(str(package.__file__)).items():
            opened = getattr(package, name)
            assert getattr(package, name) is opened, name
            assert name in dir(package), name
            if home != package.__name__ and callable(opened):
                assert opened.__module__ in (home, package.__name__), name
                assert inspect.unwrap(opened) is inspect.unwrap(getattr(import_module(home), name)), name


def test_no_module_bears_the_name_of_a_public_name() -> None:
    for package in (sl, sl.plots):
        children = {path.stem for path in Path(str(package.__file__)).parent.iterdir()} - {"plots"}
        assert not children & set(public_names(str(package.__file__)))  # once imported, it would stand in its place


def test_the_stub_lists_every_name_once() -> None:
    for package in (sl, sl.plots):
        stub = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text())
        names = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
        assert all(alias.asname == alias.name for alias in names)
        assert sorted(alias.name for alias in names) == sorted(package.__all__)


def test_an_old_name_is_the_new_one_and_warns() -> None:
    for old, new in sl._RENAMED.items():  # type: ignore[attr-defined]  # no public name, so the stub does not list it
        with pytest.warns(DeprecationWarning, match=f"site_lens.{new}$"):
            assert getattr(sl, old) is getattr(sl, new)
        assert old not in dir(sl)


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'site_lens' has no attribute 'fit_sight'"):
        getattr(sl, "fit_sight")  # noqa: B009
    assert not hasattr(sl, "utils")


def test_the_lowest_rooms_load_nothing_heavy() -> None:
    assert loaded_after(modules_without_torch("records", "stats", "heads", "tasks")) == set()


def test_rooms_that_read_records_and_the_command_line_load_no_torch() -> None:
    rooms = ("runs", "diagnostics", "plots", "studies", "report", "explorer", "sweeps", "cli")
    assert not loaded_after(modules_without_torch(*rooms)) & {"torch", "transformer_lens", "transformers"}


def test_records_are_saved_loaded_tabled_and_reported_without_torch(tmp_path: Path) -> None:
    code = f"""
import site_lens as sl
from site_lens._public import public_names
from tests.test_floors import may_import_torch
from tests.fakes import fake_evaluation, fake_fits
folder = {str(tmp_path)!r}
fits = fake_fits(["antonym"])
evaluations = sl.Evaluations([fake_evaluation("antonym")])
sl.Run(fits=fits, evaluations=evaluations).save(folder)
run = sl.Run.load(folder)
assert run.fits == fits and run.evaluations == evaluations
assert sl.load(folder + "/fits/antonym") == fits["antonym"]
sl.save(fits["antonym"].gates, folder + "/gates")
fits.frame(), evaluations.results(), sl.plots.head_map(fits["antonym"])
sl.load_tasks("demo")["antonym"].audit()
"""
    loaded = loaded_after(code)
    assert loaded & {"torch", "transformer_lens", "transformers"} == set()
    assert "pandas" in loaded
