"""`llms.txt` of the manual: an extension of Sphinx that lists every page with its first sentences (llmstxt.org).

`llms-full.txt` beside it holds the text of all pages but those of the API and the notebooks, whose text is made by a
build.
"""

import re
from itertools import accumulate
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import toctree
from sphinx.application import Sphinx

MADE_BY_A_BUILD = ("api/", "notebooks/")


ENOUGH = 120
"""Characters from which on a description needs no further sentence."""


def described(page: nodes.document) -> str:
    """Return the first sentences of a page, on one line."""
    for paragraph in page.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split()).removeprefix("Question: ")
        sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", text)
        n_chars = accumulate(map(len, sentences))
        return " ".join(sentences[: 1 + sum(n < ENOUGH for n in n_chars)])
    return ""


def write(app: Sphinx, error: Exception | None) -> None:
    """Write both files into a finished build of HTML."""
    if error is not None or app.builder.name != "html":
        return
    env, base = app.env, app.config.html_baseurl
    index = env.get_doctree("index")
    lines = [f"# {app.config.project}", "", f"> {described(index)}", ""]
    texts = []
    for tree in index.findall(toctree):
        lines += [f"## {tree.get('caption') or 'Start'}", ""]
        for _, page in tree["entries"]:
            title = env.titles[page].astext()
            lines.append(f"- [{title}]({base}{page}.html): {described(env.get_doctree(page))}")
            if not page.startswith(MADE_BY_A_BUILD):
                texts.append(Path(env.doc2path(page)).read_text(encoding="utf-8").strip())
        lines.append("")
    out = Path(app.outdir)
    (out / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    (out / "llms-full.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the extension."""
    app.connect("build-finished", write)
