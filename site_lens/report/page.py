"""Offline pages: escaped text, one style, scripts of their own only, and nothing from the network."""

import base64
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from site_lens._version import __version__
from site_lens.methods.registry import method_label
from site_lens.records.assets import ASSETS, asset
from site_lens.records.errors import InputError
from site_lens.records.outputs import check_output, has_list, is_run, is_sealed, named, sealed, write_output
from site_lens.records.terminal_escape import visible
from site_lens.report.figures import attention_json, on_page, packed, table_json, template_json
from site_lens.runs.run_folder import REPORT

REPORT_SCRIPT = "report.js"


def is_page(path: Path) -> bool:
    """Tell whether a file is a page that was written by the toolkit, and not changed since.

    Reports in runs of site_lens 0.1.0, which have no list, bear no seal.
    """
    is_old_report = path.name == REPORT and is_run(path.parent) and not has_list(path.parent)
    return is_old_report or is_sealed(path)


def write_page(
    template: str,
    path: str | Path,
    *,
    attention: bool = False,
    script: str = REPORT_SCRIPT,
    replace: bool = False,
    **parts: Any,
) -> Path:
    """Render a template of the assets and write it as one file; the same parts give the same bytes.

    Args:
        template: Name of the template.
        path: The file; its folder is made if need be.
        attention: Whether the page draws attention patterns, which takes the bundle of circuitsvis.
        script: Name of the page's script among the assets; that of reports draws figures, and brings plotly.
        replace: Write over any file that is there, not over an earlier page only.
        parts: What the template shows.

    Raises:
        InputError: The path is empty.
        StorageError: The file cannot be written, or there is one that is no page of the toolkit, or was changed since.
    """
    path = named(path)
    check_output([path], is_page, replace=replace)
    page = _environment().get_template(template).render(**_page_parts(attention, script), **parts)
    write_output({path: sealed(page.encode())}, is_page, replace=replace)
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "isolated": _isolated,
        "breakable": lambda name: Markup(_isolated(name).replace("_", Markup("_<wbr>"))),
        "method": lambda name: _isolated(method_label(name)),
        "answer": lambda text: _isolated(text.strip() or repr(text)),
        "number": lambda value: f"{value:.3f}".replace("-", "\N{MINUS SIGN}"),
        "signed": lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}"),
        "on_page": on_page,
        "table_json": table_json,
        "attention_json": attention_json,
    }
    return environment


def _shown(value: Any) -> Any:
    """Show a text of others as what it is: nothing in it turns the words beside it around, or has no width."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _isolated(name: object) -> Markup:
    """Keep a name apart from the words beside it, in whichever direction it is written."""
    return Markup("<bdi>{}</bdi>").format(visible(str(name)))


def circuitsvis_bundle() -> str:
    """Read the script of circuitsvis without importing the package, which would load torch.

    Raises:
        InputError: It is not installed.
    """
    spec = find_spec("circuitsvis")
    if spec is None or spec.origin is None:
        raise InputError("attention is drawn by circuitsvis, which is not installed; pip install circuitsvis")
    bundle = (Path(spec.origin).parent / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    return bundle.replace("</script", r"<\/script")  # the same text to a script, and no end of it to the page


def _page_parts(attention: bool, script_name: str) -> dict[str, Any]:
    """Return style and scripts, and the policy that lets the page run these scripts and load nothing."""
    libraries = {"plotly": asset("plotly-cartesian.min.js")} if script_name == REPORT_SCRIPT else {}
    if attention:
        libraries["circuitsvis"] = circuitsvis_bundle()
    script = asset(script_name)
    digests = [hashlib.sha256(source.encode()).digest() for source in (*libraries.values(), script)]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": Markup(asset("report.css")),
        "figure_template": template_json(),
        "libraries": {name: packed(source) for name, source in libraries.items()},
        "script": Markup(script),
        "version": __version__,
    }
