"""The report: fits and evaluations as one offline HTML file."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from site_lens import plots
from site_lens._version import __version__
from site_lens.core.assets import ASSETS
from site_lens.core.errors import InputError
from site_lens.core.evaluation import Evaluations
from site_lens.core.fits import STATUSES, SiteFits
from site_lens.core.storage import write_whole
from site_lens.reporting import sections, wording
from site_lens.reporting.headline import compare, interval_basis, method_means

WIDE, NARROW = 4, 2
"""Head maps in a row on a wide page and on a phone; the style sheet shows one of the two figures."""


def write_report(
    fits: SiteFits,
    path: str | Path,
    *,
    evaluations: Evaluations | None = None,
    controls: SiteFits | None = None,
    title: str = "Which heads carry the task?",
) -> Path:
    """Write fits, and how well they do, as one HTML file that asks nothing of the network.

    The same input gives the same bytes.

    Args:
        fits: The fits to report, in the order in which they shall appear.
        path: The file to write; its folder is made if need be.
        evaluations: Accuracies by task; without them the report says that nothing was evaluated.
        controls: Fits with a zero embedding or with shuffled answers, shown beside the fits.
        title: Title of the page.

    Returns:
        The path of the file.

    Raises:
        InputError: There are no fits.
        StorageError: The file cannot be written.
    """
    if not fits:
        raise InputError("there are no fits to report; fit some tasks first, for example with fit_site(model, tasks)")
    page = _environment().get_template("report.html.j2").render(
        title=title,
        **_page_parts(),
        **_summary(fits, evaluations or None),
        **_figures(fits, evaluations or None, controls or None),
    )  # fmt: skip
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


def _summary(fits: SiteFits, evaluations: Evaluations | None) -> dict[str, Any]:
    """Return everything of the page that is text or a table."""
    broken = [key for key, fit in fits.items() if fit.status in wording.BROKEN]
    scored: dict[str, Any] = {"metrics": [], "means": [], "comparison": None, "basis": "", "csv": "", "tables": {}}
    if evaluations is not None:
        metrics = [m for m in sections.measured(evaluations) if m != "prefix"]  # the published count is in the CSV
        scored = {
            "metrics": metrics,
            "means": method_means(evaluations, metrics[0]),
            "comparison": compare(evaluations, metrics[0]),
            "basis": interval_basis(len(evaluations)),
            "csv": sections.accuracy_csv(evaluations),
            "tables": {metric: sections.accuracy_table(evaluations, metric) for metric in metrics},
        }
    return scored | {
        "evaluations": evaluations,
        "methods": evaluations.methods if evaluations else (),
        "facts": [sections.fit_facts(key, fit) for key, fit in fits.items()],
        "n_tasks": len({fit.task for fit in fits.values()}),
        "settings": sections.common_settings(fits),
        "models": sections.models(fits),
        "cautions": sections.cautions(fits, evaluations, broken),
        "notes": sections.notes(fits, evaluations),
        "words": wording,
        "statuses": STATUSES,
    }


def _figures(fits: SiteFits, evaluations: Evaluations | None, controls: SiteFits | None) -> dict[str, Any]:
    """Return every figure of the page, drawn but not yet shown."""
    facts = [] if controls is None else [sections.fit_facts(key, fit) for key, fit in controls.items()]
    return {
        "accuracy_figure": None if evaluations is None else _embed("accuracy", plots.accuracy(evaluations)),
        "map_figures": _small_multiples("head-maps", fits),
        "controls": facts,
        "control_figures": [] if controls is None else _small_multiples("control-maps", controls),
        "fit_figures": [
            (_embed(f"head-map-{i}", plots.head_map(fit)), _embed(f"training-{i}", plots.training(fit)))
            for i, fit in enumerate(fits.values(), start=1)
        ],
    }


def _small_multiples(name: str, fits: SiteFits) -> list[dict[str, Any]]:
    return [
        _embed(f"{name}-{size}", plots.head_maps(fits, columns=columns)) | {"size": size}
        for size, columns in (("wide", WIDE), ("narrow", NARROW))
    ]


def _embed(name: str, figure: go.Figure) -> dict[str, Any]:
    """Return a figure as JSON that is safe inside a script element, under a fixed id."""
    json = str(figure.to_json()).replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
    return {"id": name, "height": figure.layout.height, "json": Markup(json)}
