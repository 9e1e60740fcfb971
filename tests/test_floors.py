"""Folders are floors: a module imports from its own folder and from floors below it, never in a circle."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import site_lens as sl
from site_lens._public import public_names

PACKAGE = Path(sl.__file__).parent

FLOORS = (
    "_version", "_public", "records", "stats", "heads", "tasks", "models", "activations", "site", "selectors",
    "methods", "runs", "diagnostics", "plots", "studies", "report", "sweeps", "explorer", "cli",
)  # fmt: skip
"""From bottom to top."""

ROOF = ("explorer", "cli")
WITH_TORCH = ("models", "activations", "site", "selectors", "methods")
"""Rooms whose modules may import torch; elsewhere only what measures may, see `may_import_torch`."""
MEASURING = (
    "site_lens.runs.forecast", "site_lens.runs.pipeline", "site_lens.runs.run_methods", "site_lens.studies.measure",
    "site_lens.studies.head_profiles.prompt_parts", "site_lens.sweeps.fit_jobs",
)  # fmt: skip

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
    return public_names(sl.__file__).get(name, base) if base == DOOR else base


def may_import_torch(module: str) -> bool:
    """Tell whether a module runs models; all others are imported by people who read records without torch."""
    return floor_of(module) in WITH_TORCH or module in MEASURING or module.endswith(".measure")


def violations(modules: Mapping[str, str]) -> list[str]:
    """List the imports that go up, or come in through the door."""
    found = []
    for module, text in modules.items():
        if module in (DOOR, "site_lens._public"):
            continue
        for imported in imports_of(module, text, modules):
            if imported == DOOR:
                allowed = floor_of(module) in ROOF
            else:
                allowed = FLOORS.index(floor_of(imported)) <= FLOORS.index(floor_of(module))
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
    assert {floor_of(module) for module in sources() if module != DOOR} == set(FLOORS)


def test_imports_go_down_only() -> None:
    assert violations(sources()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(sources()) == []


WRONG = {
    "site_lens.records.planted": (
        "from site_lens.models.bridge import BridgeModel",
        "import numpy, site_lens.models.bridge as bridge",
        "from site_lens import fit_site",
        "import site_lens as sl",
        "from ..models.bridge import BridgeModel",
        "def f():\n    from site_lens.plots import head_map",
        "if TYPE_CHECKING:\n    from site_lens.site.fitting import fit_site",
        "importlib.import_module('site_lens.cli')",
    ),
    "site_lens.models.planted": ("from site_lens.activations.injection import mix",),
    "site_lens.report.planted": ("from site_lens.cli import app", "from site_lens import explore"),
}


def test_a_planted_import_of_a_higher_floor_is_caught() -> None:
    for module, texts in WRONG.items():
        for text in texts:
            caught = violations({DOOR: "", module: text} | {name: "" for name in sources()})
            assert len(caught) == 1 and caught[0].startswith(f"{module} imports site_lens"), (module, text, caught)
