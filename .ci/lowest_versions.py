"""Lowest allowed version of every dependency, from pyproject.toml; `make test-oldest` installs them.

    python .ci/lowest_versions.py            # print them
    python .ci/lowest_versions.py --write    # write constraints-oldest.txt

Dependencies and the extras that users install are pinned; tools of development are not.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("test", "docs", "dev")
HEAD = """\
# The lowest versions that pyproject.toml allows. Written by `python .ci/lowest_versions.py --write`; do not edit.
"""


def lowest_versions(pyproject: str) -> dict[str, str]:
    """Return the lower bound of each dependency and of each extra that is not a tool of development."""
    project = tomllib.loads(pyproject)["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name not in TOOLS for line in lines]
    bounds = (re.match(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", line) for line in [*project["dependencies"], *extras])
    return {bound[1]: bound[2] for bound in bounds if bound}


def constraints(pyproject: str) -> str:
    """Return the text of constraints-oldest.txt."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(lowest_versions(pyproject).items()))


if __name__ == "__main__":
    text = constraints((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if "--write" in sys.argv[1:]:
        (ROOT / "constraints-oldest.txt").write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
