"""Notebooks as pages of the manual. This extension of Sphinx shows their outputs; the command executes them.

    python docs/notebook_pages.py [REPOSITORY]    # execute the notebooks whose code, package or pins have changed

Executed notebooks are kept in `build/notebooks`. A build executes nothing: a page shows the kept outputs while they are
those of the present code, and the code alone otherwise.
"""

import os
import sys
import time
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import plotly.graph_objects as go
from docutils import nodes
from markupsafe import Markup
from nbclient import NotebookClient
from nbformat import NotebookNode
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import site_lens
from site_lens.records.assets import ASSETS
from site_lens.records.hashing import digest_file, digest_json
from site_lens.report.figures import on_page, template_json

REPOSITORY = Path(__file__).parent.parent
FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
COMMAND = "make docs-notebooks"

FIGURE_HTML = Markup(
    '<figure class="plot"><figcaption><b>{figure.title}</b> {figure.subtitle}</figcaption><div class="scroll"><div '
    'class="plot-canvas" style="min-height: {figure.height}px; min-width: {least}px; max-width: {most}"></div></div>'
    '<script type="application/json">{figure.json}</script></figure>'
)


def sources(repository: Path) -> list[Path]:
    """List the notebooks of a repository."""
    return sorted((repository / "notebooks").glob("*.ipynb"))


def kept_path(source: Path) -> Path:
    """Return where an executed notebook is kept."""
    return source.parents[1] / "build/notebooks" / source.name


def fingerprint(notebook: NotebookNode, package: Path = Path(site_lens.__file__).parent) -> str:
    """Digest what the outputs of a notebook depend on: its code, every file of the package, the pinned versions."""
    files = [path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    digests = [[str(path.relative_to(package)), digest_file(path)] for path in files]
    return digest_json([_code(notebook), digests, digest_file(REPOSITORY / "constraints.txt")])


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def read(path: Path) -> NotebookNode:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def read_kept(source: Path) -> NotebookNode | None:
    """Read the executed notebook of a source; None if it is missing, or is that of other code."""
    path = kept_path(source)
    executed = read(path) if path.exists() else None
    is_current = executed is not None and executed.metadata.get("fingerprint") == fingerprint(read(source))
    return executed if is_current else None


def execute(source: Path) -> None:
    """Execute a notebook in a new folder, and keep it with its outputs.

    Raises:
        CellExecutionError: A cell failed; nothing is kept.
    """
    notebook, path = read(source), kept_path(source)
    notebook.metadata["fingerprint"] = fingerprint(notebook)
    environment = os.environ | {"PLOTLY_RENDERER": "plotly_mimetype"}  # figures as data, without a plotly.js in each
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=None, store_widget_state=False, resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def make_page(source: Path) -> NotebookNode:
    """Make the page of a notebook: links as they are from `docs/notebooks`, a line on its outputs, and the outputs."""
    page, executed = read(source), read_kept(source)
    outputs = [cell.outputs for cell in executed.cells if cell.cell_type == "code"] if executed else []
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../docs/", "](../")
        elif outputs:
            cell.outputs = [_shown(output) for output in outputs.pop(0) if WIDGET not in output.get("data", {})]
    state = (
        f"Outputs are those of site_lens {site_lens.__version__}; progress bars are left out."
        if executed
        else f"This page shows the code only; `{COMMAND}` adds the outputs."
    )
    line = f"*The notebook `notebooks/{source.name}`. {state}*"
    page.cells.insert(1, nbformat.v4.new_markdown_cell(line, id="outputs"))
    return page


def _shown(output: NotebookNode) -> NotebookNode:
    """Return an output as a page shows it: a figure as HTML that `_static/figures.js` draws, others as they are."""
    data = output.get("data", {})
    if FIGURE not in data:
        return output
    figure = on_page(go.Figure(data[FIGURE]))
    most = f"{figure.width}px" if figure.width else "none"
    html = FIGURE_HTML.format(figure=figure, least=figure.least_width or 0, most=most)
    shown = deepcopy(output)
    shown.data = {"text/html": str(html)}
    return shown


def _write_pages(app: Sphinx) -> None:
    """Write the pages into the sources of the manual; one that has not changed keeps its time and is not rebuilt."""
    folder = Path(app.srcdir) / "notebooks"
    folder.mkdir(exist_ok=True)
    pages = {folder / path.name: nbformat.writes(make_page(path)) for path in sources(folder.parents[1])}
    for path in set(folder.iterdir()) - pages.keys():
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _link_pages(app: Sphinx, page: nodes.document) -> None:
    """Turn links to notebooks of the repository into links to their pages."""
    repository = f"{Path(app.srcdir).parent.as_posix()}/"
    for link in page.findall(pending_xref):
        if link["reftarget"].startswith(f"{repository}notebooks/"):
            link["reftarget"] = link["reftarget"].removeprefix(repository)


def _add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Add plotly.js, which all pages share, and the script that draws the figures of a notebook."""
    if page.startswith("notebooks/"):
        app.add_js_file(None, body=template_json(), type="application/json", id="figure-template")
        app.add_js_file("plotly-cartesian.min.js", loading_method="defer")
        app.add_js_file("figures.js", loading_method="defer")


def _add_files(app: Sphinx) -> None:
    """Add plotly.js, its license, and the script and style of the pages to the static files."""
    here = Path(__file__).parent / "_static"
    plotly = [ASSETS / "plotly-cartesian.min.js", ASSETS / "plotly-cartesian.LICENSE"]
    app.config.html_static_path += [str(path) for path in (here, *plotly)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the notebooks with Sphinx; the repository is the folder above the manual's."""
    app.setup_extension("myst_nb")
    app.add_css_file("notebooks.css")
    app.connect("builder-inited", _add_files)
    app.connect("builder-inited", _write_pages)
    app.connect("doctree-read", _link_pages)
    app.connect("html-page-context", _add_scripts)
    return {"parallel_read_safe": True}


def main(repository: Path) -> None:
    """Execute the notebooks that have no current outputs."""
    for source in sources(repository):
        if read_kept(source) is None:
            start = time.monotonic()
            sys.stdout.write(f"{source.name} ...")
            sys.stdout.flush()
            execute(source)
            sys.stdout.write(f" {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY)
