"""How Sphinx builds the documentation, without asking the network for anything; `make docs` runs it."""

from pathlib import Path
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from site_lens import __version__

HERE = Path(__file__).parent
HIDDEN = "\ue000"  # a private character

project = "site_lens"
author = "the site_lens developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]  # index.md includes it

html_theme = "furo"
html_title = f"site_lens {__version__}"
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = ">>> "

myst_heading_anchors = 3

default_role = "literal"  # docstrings mark names with single backquotes
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88


def _without_empty_globs(app: Sphinx, page: str, source: list[str]) -> None:
    """Leave patterns out of the contents that match no page, of which Sphinx would warn."""
    if page == "index":
        lines = source[0].splitlines(keepends=True)
        kept = [line for line in lines if not line.rstrip().endswith("*") or any(HERE.glob(f"{line.rstrip()}.md"))]
        source[0] = "".join(kept)


def _without_folders(app: Sphinx, page: nodes.document) -> None:
    """Show a link to a folder of the repository as its text: the manual does not have the folder."""
    folder = Path(page["source"]).parent
    for link in list(page.findall(pending_xref)):
        if (folder / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def _without_fields(
    app: Sphinx, what: str, name: str, found: Any, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Leave the signature of a record or a run out: its fields stand below, each with what it means."""
    is_record = isinstance(found, type) and issubclass(found, BaseModel)
    if is_record or "<factory>" in (signature or ""):
        return "", None
    return None


def _hide_colons(app: Sphinx, what: str, name: str, found: Any, options: object, lines: list[str]) -> None:
    """Keep napoleon from reading a field's "M: prompts of an embedding" as its type and what it means."""
    if what == "attribute":
        lines[:] = [line.replace(":", HIDDEN) for line in lines]


def _show_colons(app: Sphinx, what: str, name: str, found: Any, options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Register what is changed here."""
    app.connect("source-read", _without_empty_globs)
    app.connect("doctree-read", _without_folders)
    app.connect("autodoc-process-signature", _without_fields)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
