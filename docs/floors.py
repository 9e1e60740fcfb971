"""Picture of the floors of the package, drawn from its imports; the Sphinx build writes it beside docs/architecture.md.

    python docs/floors.py FILE.svg

A room (a folder of `site_lens/`) stands one floor above the highest room that it imports. An arrow for every import
would be a tangle: an arrow is left out where a longer way leads to the same room.
Rooms that import torch are orange.
"""

import ast
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "site_lens"
BOX_WIDTH, BOX_HEIGHT, GAP, FLOOR_HEIGHT, MARGIN = 112, 34, 22, 66, 20
PLAIN, WITH_TORCH = "#eef1f5", "#fbe3c4"

Rooms = Mapping[str, frozenset[str]]
"""Rooms, each with the rooms that it imports."""


def imported_modules(source: str) -> set[str]:
    """Return the dotted names that a module imports; a name taken out of a package counts as its submodule."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def read_imports(package: Path) -> dict[str, set[str]]:
    """Return the dotted names that each room of a package imports."""
    rooms = {path.name: path for path in package.iterdir() if any(path.glob("*.py"))}
    return {
        name: set().union(*(imported_modules(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py")))
        for name, folder in rooms.items()
    }


def imports_between_rooms(imports: Mapping[str, set[str]], package: str) -> dict[str, frozenset[str]]:
    """Keep of the imports of each room the other rooms of the package."""
    return {
        room: frozenset(module.split(".")[1] for module in modules if module.startswith(f"{package}.")).intersection(
            imports.keys() - {room}
        )
        for room, modules in imports.items()
    }


def floor_numbers(rooms: Rooms) -> dict[str, int]:
    """Return the floor of every room: one above the highest room that it imports, the lowest being 0.

    Raises:
        ValueError: Rooms import each other in a circle.
    """
    floors: dict[str, int] = {}
    while len(floors) < len(rooms):
        ready = [room for room in rooms if room not in floors and rooms[room] <= floors.keys()]
        if not ready:
            raise ValueError(f"circle of imports among {sorted(rooms.keys() - floors.keys())}")
        floors |= {room: 1 + max((floors[below] for below in rooms[room]), default=-1) for room in ready}
    return floors


def arrows(rooms: Rooms) -> list[tuple[str, str]]:
    """Return the imports to draw, as (upper, lower): those that no longer way implies."""
    reachable: dict[str, frozenset[str]] = {}
    for room in sorted(rooms, key=floor_numbers(rooms).__getitem__):
        reachable[room] = rooms[room].union(*(reachable[below] for below in rooms[room]))
    return sorted(
        (room, below)
        for room, imports in rooms.items()
        for below in imports
        if not any(below in reachable[between] for between in imports - {below})
    )


def draw(rooms: Rooms, with_torch: frozenset[str]) -> str:
    """Return the picture as SVG: a row of boxes for each floor, an arrow from a room to each that it needs."""
    floors = floor_numbers(rooms)
    top = max(floors.values())
    rows = [sorted(room for room in rooms if floors[room] == floor) for floor in range(top + 1)]
    width = max(map(len, rows)) * (BOX_WIDTH + GAP) - GAP + 2 * MARGIN
    height = (top + 1) * FLOOR_HEIGHT - (FLOOR_HEIGHT - BOX_HEIGHT) + 2 * MARGIN
    corners = {}
    for floor, row in enumerate(rows):
        left = (width - len(row) * (BOX_WIDTH + GAP) + GAP) / 2
        for place, room in enumerate(row):
            corners[room] = (left + place * (BOX_WIDTH + GAP), MARGIN + (top - floor) * FLOOR_HEIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for upper, lower in arrows(rooms):
        (x1, y1), (x2, y2) = corners[upper], corners[lower]
        start, end = (x1 + BOX_WIDTH / 2, y1 + BOX_HEIGHT), (x2 + BOX_WIDTH / 2, y2)
        parts.append(
            f'<path d="M{start[0]} {start[1]}C{start[0]} {start[1] + 26} {end[0]} {end[1] - 26} {end[0]} {end[1]}" '
            'fill="none" stroke="#777" marker-end="url(#tip)"/>'
        )
    for room, (x, y) in sorted(corners.items()):
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
            f'fill="{WITH_TORCH if room in with_torch else PLAIN}" stroke="#345"/>'
            f'<text x="{x + BOX_WIDTH / 2}" y="{y + 22}" text-anchor="middle" fill="#123">{escape(room)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_package(package: Path) -> str:
    """Return the picture of a package, given its folder."""
    imports = read_imports(package)
    with_torch = frozenset(
        room for room, modules in imports.items() if any(m.split(".")[0] == "torch" for m in modules)
    )
    return draw(imports_between_rooms(imports, package.name), with_torch)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw_package(PACKAGE), encoding="utf-8")
