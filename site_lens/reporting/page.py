"""What every page of ours has: escaped text, one style, scripts of its own only, and nothing from the network."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from site_lens._version import __version__
from site_lens.core.assets import ASSETS
from site_lens.core.storage import write_whole


def write_page(template: str, path: str | Path, **parts: Any) -> Path:
    """Render a template of the assets and write it as one file; the same parts give the same bytes.

    Raises:
        StorageError: The file cannot be written.
    """
    page = _environment().get_template(template).render(**_page_parts(), **parts)
    write_whole({Path(path): page.encode()})
    return Path(path)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = lambda name: Markup(escape(name).replace("_", Markup("_<wbr>")))
    environment.filters["number"] = lambda value: f"{value:.3f}".replace("-", "\N{MINUS SIGN}")
    environment.filters["signed"] = lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return environment


def _page_parts() -> dict[str, Any]:
    """Return style and scripts, and the policy that lets the page run these scripts and load nothing."""
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    scripts = (get_plotlyjs(), script)
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
        "plotly_js": Markup(scripts[0]),
        "script": Markup(script),
        "version": __version__,
    }
