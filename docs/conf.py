"""Configuration of the Sphinx build, which needs no network; `make docs` runs it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from site_lens import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import floors  # noqa: E402  # from this folder

HIDDEN = "\ue000"  # a private character

project = "site_lens"
author = "the site_lens developers"
version = release = __version__

extensions = ["llms", "notebook_pages", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]  # index.md includes it

html_theme = "furo"
html_baseurl = "https://site-lens.github.io/site_lens/"
html_title = f"site_lens {__version__}"
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = ">>> "
copybutton_selector = ".highlight:not(.output .highlight) pre"

myst_heading_anchors = 3
nb_execution_mode = "off"  # `make docs-notebooks` executes them
nb_merge_streams = True  # what a loop prints is one output
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # scripts from elsewhere

default_role = "literal"  # docstrings mark names with single backquotes
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88


def _draw_floors(app: Sphinx) -> None:
    """Draw the picture of docs/architecture.md from the imports."""
    (HERE / "images/floors.svg").write_text(floors.draw_package(floors.PACKAGE), encoding="utf-8")


def command_line() -> str:
    """Return the page of all commands and options, which typer writes; `runs`, the old name of `sweep`, is left out."""
    title = ["--name", "site-lens", "--title", "Command line"]
    typer = [sys.executable, "-m", "typer", "site_lens.cli.commands", "utils", "docs", *title]
    page = subprocess.run(typer, check=True, capture_output=True, text=True).stdout
    page = page.replace("```console", "```text")
    lines = page.partition("## `site-lens runs`")[0].rstrip().splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith("* `runs`"))


def _write_command_line(app: Sphinx) -> None:
    """Write the page of the command line."""
    (HERE / "cli.md").write_text(command_line(), encoding="utf-8")


def _without_empty_globs(app: Sphinx, page: str, source: list[str]) -> None:
    """Drop glob patterns of the table of contents that match no page, of which Sphinx would warn."""
    if page == "index":
        lines = source[0].splitlines(keepends=True)
        kept = [line for line in lines if not line.rstrip().endswith("*") or any(HERE.glob(f"{line.rstrip()}.md"))]
        source[0] = "".join(kept)


def _without_folders(app: Sphinx, page: nodes.document) -> None:
    """Replace a link to a folder of the repository by its text, because the manual does not have the folder."""
    folder = Path(page["source"]).parent
    for link in list(page.findall(pending_xref)):
        if (folder / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def _without_fields(
    app: Sphinx, what: str, name: str, member: Any, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Drop the signature of a record or a run, because its fields are listed below."""
    is_record = isinstance(member, type) and issubclass(member, BaseModel)
    if is_record or "<factory>" in (signature or ""):
        return "", None
    return None


def _hide_colons(app: Sphinx, what: str, name: str, member: Any, options: object, lines: list[str]) -> None:
    """Hide colons from napoleon, which would read "M: prompts of an embedding" as a type and a description."""
    if what == "attribute":
        lines[:] = [line.replace(":", HIDDEN) for line in lines]


def _show_colons(app: Sphinx, what: str, name: str, member: Any, options: object, lines: list[str]) -> None:
    """Put the colons back."""
    lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Register the changes to the build."""
    app.connect("builder-inited", _draw_floors)
    app.connect("builder-inited", _write_command_line)
    app.connect("source-read", _without_empty_globs)
    app.connect("doctree-read", _without_folders)
    app.connect("autodoc-process-signature", _without_fields)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
