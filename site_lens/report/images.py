"""Image files of figures, drawn by kaleido in a browser of this machine; nothing is asked of the network."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

from site_lens.plots.theme import FONT_SIZE, NARROW_PAGE, TEMPLATE, least_width, resized, untitled
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_bytes
from site_lens.records.outputs import check_output, check_writable, named, sealed, write_output
from site_lens.report.report import report_figures
from site_lens.runs.run import Run

ImageFormat = Literal["png", "svg", "pdf"]

WIDTH = 900
"""Pixels of an image whose figure names no width."""

PNG_SCALE = 2
"""Dots a pixel of a PNG: 190 to the inch on paper, where a pixel is 1/96 of one."""

PIXELS = {"px": 1.0, "pt": 96 / 72, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}
"""Pixels of each unit of length."""

SMALLEST, LARGEST = 50, 10_000
"""Pixels from side to side of an image."""


def write_image(
    figure: go.Figure,
    path: str | Path,
    *,
    width: float | str | None = None,
    height: float | str | None = None,
    font_size: float | None = None,
    font: str | None = None,
    titles: bool = True,
    replace: bool = False,
) -> Path:
    """Draw a figure into a file.

    Args:
        figure: Any plotly figure. TeX in it is not set, for that would load MathJax from the network.
        path: The file, ending in .png, .svg or .pdf; its folder is made if need be.
        width: From side to side: pixels of 1/96 inch, or a text with a unit, such as `"3.3in"`, `"84mm"`, `"8.4cm"` or
            `"240pt"`. The figure's own when None, else 900 pixels or what its names take.
        height: From top to bottom, in the same way; the figure's own when None.
        font_size: Points of ordinary text; lines, markers and margins grow and shrink with it. 9 when None.
        font: Family of the font, such as `"Times New Roman"`; the browser takes another where it has none of that name.
        titles: Whether title and subtitle are drawn; a paper has them in its caption.
        replace: Write over any file that is there, not over an earlier image only.

    Returns:
        The path of the file.

    Raises:
        InputError: The path ends otherwise, a length cannot be read or is too small or large, or kaleido or a browser
            is not installed.
        StorageError: The file cannot be written, there is one that is no image of the toolkit, or was changed since,
            or the browser gave up.

    Example:
        >>> from site_lens.report.images import pixels_of
        >>> pixels_of("3in"), pixels_of("72 pt"), pixels_of(300)
        (288.0, 96.0, 300.0)
    """
    path = named(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{path} ends in none of .png, .svg and .pdf, the kinds of image that can be drawn")
    _draw({path: _job(figure, width, height, font_size, font, titles)}, replace=replace)
    return path


def write_images(
    run: Run,
    folder: str | Path,
    *,
    format: ImageFormat = "svg",
    width: float | str | None = None,
    height: float | str | None = None,
    font_size: float | None = None,
    font: str | None = None,
    titles: bool = True,
    replace: bool = False,
) -> list[Path]:
    """Draw every figure of a run's report into a file of its own.

    Figures across tasks are called as in the report, those of one fit `fits/<fit>-<figure>`.

    Args:
        run: The run.
        folder: Where the files go; it is made if need be, and earlier images of the same names are replaced.
        format: `png`, `svg` or `pdf`.
        width: See `write_image`.
        height: See `write_image`.
        font_size: See `write_image`.
        font: See `write_image`.
        titles: See `write_image`.
        replace: Write over any files of those names, not over earlier images only.

    Returns:
        The paths of the files.

    Raises:
        InputError: There are no fits, there is no such format, a length cannot be read or is too small or large, or
            kaleido or a browser is not installed.
        StorageError: The folder cannot be written, holds a file of the name of an image that is none of the toolkit,
            or the browser gave up.
    """
    folder = named(folder)
    jobs = {
        folder / f"{name}.{format}": _job(part.figure, width, height, font_size, font, titles)
        for name, part in report_figures(run).items()
    }
    _draw(jobs, replace=replace)
    return list(jobs)


def pixels_of(length: float | str) -> float:
    """Return the pixels, of 1/96 inch, of a length: a number of pixels, or a text with a unit.

    Raises:
        InputError: The text is no length, or it is too small or too large for an image.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|pt|in|cm|mm)?\s*", str(length))
    pixels = 0.0 if found is None else float(found[1]) * PIXELS[found[2] or "px"]
    if not SMALLEST <= pixels <= LARGEST:
        raise InputError(
            f"{length!r} is no width or height of an image; give a number with px, pt, in, cm or mm, such as 3.3in, "
            f"from {SMALLEST} to {LARGEST} pixels of 1/96 inch"
        )
    return pixels


def _job(
    figure: go.Figure,
    width: float | str | None,
    height: float | str | None,
    font_size: float | None,
    font: str | None,
    titles: bool,
) -> dict[str, Any]:
    """Arrange a figure for lengths and font, on narrow images as on a phone, and return a job of kaleido.

    A job holds the figure as plotly draws it, its pixels from side to side, and the scale by which the whole is then
    enlarged.
    """
    if font_size is not None and not 2 <= font_size <= 72:
        raise InputError(f"font_size must be 2 to 72 points, got {font_size:g}")
    if font is not None and not font.strip():
        raise InputError("the name of the font is empty; leave it out for the default one")
    scale = 1 if font_size is None else font_size * PIXELS["pt"] / FONT_SIZE
    across, down = (None if length is None else pixels_of(length) / scale for length in (width, height))
    fields = figure.to_dict()
    layout, is_ours = fields["layout"], figure.layout.template == TEMPLATE
    n_pixels = across or float(figure.layout.width or max(WIDTH, least_width(figure) or 0))
    if is_ours and not titles:
        layout = untitled(layout)
    if is_ours and n_pixels < NARROW_PAGE:
        layout = layout | layout.get("meta", {}).get("narrow", {})
    if not titles:
        layout.pop("title", None)
    if down is not None:
        layout = resized(layout, round(down)) if "height" in layout else layout | {"height": round(down)}
    if font is not None:
        layout["font"] = layout.get("font", {}) | {"family": font}
    return {"fig": fields | {"layout": layout}, "opts": {"width": n_pixels, "scale": scale}}


def _draw(jobs: Mapping[Path, dict[str, Any]], *, replace: bool) -> None:
    """Draw all figures in one browser, then put every file in its place.

    Whether the files may go there is asked first.
    """
    check_output(jobs, replace=replace)
    for folder in {path.parent for path in jobs}:
        check_writable(folder)
    try:
        from kaleido import write_fig_from_object_sync
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError as error:
        raise InputError('images need kaleido; install it with: pip install "site_lens[images]"') from error
    with tempfile.TemporaryDirectory() as scratch:
        for i, (path, job) in enumerate(jobs.items()):
            kind = path.suffix.lower().removeprefix(".")
            job["path"], job["opts"]["format"] = Path(scratch) / f"{i}.{kind}", kind
            job["opts"]["scale"] *= PNG_SCALE if kind == "png" else 1
        try:
            # MathJax alone would come from the network; none of our figures uses it.
            errors = write_fig_from_object_sync(list(jobs.values()), kopts={"mathjax": False})
        except ChromeNotFoundError as error:
            raise InputError(
                "images are drawn by Chrome or Chromium, and none was found; install one (on Debian: apt-get install "
                "chromium), or set BROWSER_PATH to its program"
            ) from error
        except (BrowserClosedError, BrowserFailedError) as error:
            raise StorageError(
                f"the browser ended before the images were drawn ({error}); try whether chromium --headless runs here, "
                "or set BROWSER_PATH to the program of another one"
            ) from error
        if errors:
            raise errors[0]
        images = {path: _with_fixed_ids(job["path"].read_bytes()) for path, job in jobs.items()}
    write_output({path: sealed(image, path.suffix.lower()) for path, image in images.items()}, replace=replace)


def _with_fixed_ids(image: bytes) -> bytes:
    """Put digests into the places of the random ids that plotly gives an SVG: the same figure is the same file."""
    random = list(dict.fromkeys(re.findall(rb'(?: id="defs-| trace)([0-9a-f]{6})"', image)))
    if not image.startswith(b"<svg") or not random:
        return image
    ids = re.compile(rb"(?<=[a-z-])(" + b"|".join(random) + rb")")
    rest = digest_bytes(ids.sub(b"", image))
    fixed = {name: digest_bytes(f"{rest}{i}".encode())[:6].encode() for i, name in enumerate(random)}
    return ids.sub(lambda match: fixed[match[1]], image)
