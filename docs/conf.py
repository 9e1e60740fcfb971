"""How Sphinx builds the documentation, without asking the network for anything; `make docs` runs it."""

from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

from site_lens import __version__

project = "site_lens"
author = "the site_lens developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]  # index.md includes it
suppress_warnings = ["toc.empty_glob"]  # docs/results is made by `make studies`

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


def _without_fields(
    app: Sphinx, what: str, name: str, found: Any, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Leave the signature of a record out: its fields stand below, each with what it means."""
    if isinstance(found, type) and issubclass(found, BaseModel):
        return "", None
    return None


def setup(app: Sphinx) -> None:
    """Register what is changed here."""
    app.connect("autodoc-process-signature", _without_fields)
