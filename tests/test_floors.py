"""Folders are floors: a module imports from its own folder and from floors below it, never in a circle."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import site_lens as sl

PACKAGE = Path(sl.__file__).parent

BENCH = ("models", "interventions", "selectors", "baselines", "experiments")
DESK = ("diagnostics", "plots", "reporting")
ROOF = ("explorer", "demo", "cli")
FLOORS = ("_version", "core", *BENCH, *DESK, "sweeps", *ROOF)
"""From bottom to top."""

DOOR = "site_lens"
"""The lazy door: it names every floor, and only the roof may come in through it."""


def sources() -> dict[str, str]:
    """Read the text of every module of the package, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def floor_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(module: str, text: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Name what a module imports of the package, wherever in it: top, function, type-checking block.

    A name taken out of a package is its submodule if there is one; a public name taken out of the door is its home.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == DOOR)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if f"{module}.__init__" in modules else module.rsplit(".", node.level)[0]
                base = f"{package}.{base}".rstrip(".")
            if base.split(".")[0] == DOOR:
                yield from (_origin(base, alias.name, modules) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and str(name.value).split(".")[0] == DOOR:
                yield str(name.value)


def _origin(base: str, name: str, modules: Mapping[str, str]) -> str:
    if f"{base}.{name}" in modules or (base == DOOR and name in FLOORS):
        return f"{base}.{name}"
    return str(sl._HOME_OF.get(name, base)) if base == DOOR else base


def violations(modules: Mapping[str, str]) -> list[str]:
    """List the imports that go up, cross between the wings, or come in through the door."""
    found = []
    for module, text in modules.items():
        if module == DOOR:
            continue
        own = floor_of(module)
        for imported in imports_of(module, text, modules):
            if imported == DOOR:
                allowed = own in ROOF
            else:
                down = FLOORS.index(floor_of(imported)) <= FLOORS.index(own)
                allowed = down and not (own in DESK and floor_of(imported) in BENCH)
            if not allowed:
                found.append(f"{module} imports {imported}")
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """Return modules that import each other in a circle, or nothing."""
    graph = {
        module: {name for name in imports_of(module, text, modules) if name in modules and name not in (module, DOOR)}
        for module, text in modules.items()
        if module != DOOR
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_folder_is_a_floor() -> None:
    assert {floor_of(module) for module in sources() if module != DOOR} <= set(FLOORS)
    assert {"core", "models", "interventions", "selectors", "plots", "reporting"} <= {
        floor_of(module) for module in sources() if module != DOOR
    }


def test_imports_go_down_only() -> None:
    assert violations(sources()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(sources()) == []


def test_imports_are_seen_at_all() -> None:
    modules = sources()
    assert "site_lens.core.heads" in set(imports_of("site_lens.core.scores", modules["site_lens.core.scores"], modules))
    assert sum(len(list(imports_of(module, text, modules))) for module, text in modules.items()) > 100


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("site_lens.core.planted", "from site_lens.models.bridge import BridgeModel"),
        ("site_lens.core.planted", "import site_lens.models.bridge"),
        ("site_lens.core.planted", "import numpy, site_lens.models.bridge as bridge"),
        ("site_lens.core.planted", "from site_lens import models"),
        ("site_lens.core.planted", "from site_lens import fit_site"),
        ("site_lens.core.planted", "import site_lens as sl"),
        ("site_lens.core.planted", "from ..models import bridge"),
        ("site_lens.core.planted", "from ..models.bridge import BridgeModel"),
        ("site_lens.core.planted", "def f():\n    from site_lens.plots import head_map"),
        ("site_lens.core.planted", "if TYPE_CHECKING:\n    from site_lens.selectors.site import fit_site"),
        ("site_lens.core.planted", "importlib.import_module('site_lens.cli')"),
        ("site_lens.models.planted", "from site_lens.interventions.patching import mix"),
        ("site_lens.interventions.planted", "from site_lens.selectors.site import fit_site"),
        ("site_lens.experiments.planted", "from site_lens.plots import head_map"),
        ("site_lens.selectors.planted", "from site_lens.reporting.report import write_report"),
        ("site_lens.plots.planted", "from site_lens.models.protocol import LensModel"),
        ("site_lens.plots.planted", "from site_lens.reporting import wording"),
        ("site_lens.diagnostics.planted", "from site_lens.experiments.study import fit_and_evaluate"),
        ("site_lens.reporting.planted", "from site_lens.selectors.site import fit_site"),
        ("site_lens.reporting.planted", "from site_lens.cli import app"),
        ("site_lens.experiments.planted", "from site_lens.sweeps.store import RunStore"),
        ("site_lens.sweeps.planted", "from site_lens.cli import app"),
        ("site_lens.reporting.planted", "from site_lens import plots, load_model"),
    ],
)
def test_a_planted_import_of_the_wrong_floor_is_caught(module: str, text: str) -> None:
    (caught,) = violations(sources() | {module: text})
    assert caught.startswith(f"{module} imports site_lens")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("site_lens.core.planted", "from site_lens._version import __version__\nfrom site_lens.core.heads import Head"),
        ("site_lens.core.planted", "from .heads import Head\nimport numpy as np"),
        ("site_lens.experiments.planted", "from site_lens.selectors.site import fit_site"),
        ("site_lens.reporting.planted", "from site_lens import Head, plots"),
        ("site_lens.plots.planted", "from site_lens.core.fits import SiteFit"),
        ("site_lens.demo.planted", "import site_lens as sl\nfrom site_lens.selectors.site import fit_site"),
    ],
)
def test_imports_of_floors_below_are_let_through(module: str, text: str) -> None:
    assert violations(sources() | {module: text}) == []


def test_a_planted_circle_is_caught() -> None:
    planted = {
        "site_lens.core.one": "from site_lens.core.two import x",
        "site_lens.core.two": "def f():\n    from site_lens.core import three",
        "site_lens.core.three": "from .one import y",
    }
    assert set(circle(sources() | planted)) == set(planted)
    assert violations(sources() | planted) == []
