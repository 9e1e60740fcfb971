"""The lazy door: every public name opens, and nothing heavy is loaded before it is needed."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import site_lens as sl

PACKAGE = Path(sl.__file__).parent
ROOT = PACKAGE.parent
FUNCTIONS = [name for names in sl._HOMES.values() for name in names if name[0].islower()]


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return which heavy packages it loaded."""
    heavy = ("torch", "transformer_lens", "transformers", "pandas", "plotly", "datasets", "circuitsvis", "sklearn")
    program = f"import sys\n{code}\nprint(' '.join(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def modules_of(*floors: str) -> str:
    """Write the import of every module of some floors."""
    paths = [path for floor in floors for path in sorted((PACKAGE / floor).glob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return "import " + ", ".join(names)


@pytest.mark.parametrize("name", sl.__all__)
def test_every_public_name_opens_twice(name: str) -> None:
    first = getattr(sl, name)
    assert getattr(sl, name) is first
    assert name in dir(sl)
    if name in FUNCTIONS:
        assert callable(first)


@pytest.mark.parametrize(("home", "names"), sl._HOMES.items())
def test_every_public_name_lives_where_the_door_says(home: str, names: tuple[str, ...]) -> None:
    for name in names:
        assert getattr(import_module(home), name).__module__ == home
        assert inspect.unwrap(getattr(sl, name)) is inspect.unwrap(getattr(import_module(home), name))


def test_names_open_after_every_module_was_imported() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert all(callable(getattr(sl, name)) for name in FUNCTIONS)


def test_no_module_bears_the_name_of_a_public_function() -> None:
    children = {path.stem for path in PACKAGE.iterdir()}
    assert not children & set(sl._HOME_OF)  # once imported, such a module would stand in place of the function
    modules = {path.parent.name if path.stem == "__init__" else path.stem for path in PACKAGE.rglob("*.py")}
    assert not modules & set(sl._HOME_OF)


def test_type_checkers_see_the_names_that_the_door_opens() -> None:
    (block,) = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    seen: dict[str, str | None] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert [alias.asname for alias in node.names] == [alias.name for alias in node.names]
        seen |= {alias.name: node.module for alias in node.names}
    assert seen == sl._HOME_OF | {"plots": "site_lens"}
    assert set(sl.__all__) == {*seen, "__version__"}


def test_every_name_has_one_home() -> None:
    assert len(sl.__all__) == len(set(sl.__all__)) == sum(map(len, sl._HOMES.values())) + 2


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'site_lens' has no attribute 'fit_sight'"):
        sl.fit_sight  # noqa: B018
    assert not hasattr(sl, "utils")


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import site_lens; site_lens.__version__; dir(site_lens)") == set()


def test_the_records_load_nothing_heavy() -> None:
    assert loaded_after(modules_of("core")) == set()


def test_the_desk_loads_no_torch() -> None:
    assert not loaded_after(modules_of("core", "diagnostics", "plots", "reporting", "explorer")) & {
        "torch",
        "transformer_lens",
        "transformers",
    }


def test_records_are_saved_loaded_tabled_and_reported_without_torch(tmp_path: Path) -> None:
    code = f"""
import site_lens as sl
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
