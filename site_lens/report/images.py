"""Image files of figures, drawn by kaleido in a browser of this machine; nothing is asked of the network."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import plotly.graph_objects as go

from site_lens.plots.theme import least_width
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_bytes
from site_lens.records.outputs import check_writable, is_sealed, named, output_path, sealed, write_output
from site_lens.report.report import report_figures
from site_lens.runs.run import Run

ImageFormat = Literal["png", "svg", "pdf"]

WIDTH = 900
"""Pixels of an image whose figure names no width."""

PNG_SCALE = 2
"""Dots a pixel of a PNG: 190 to the inch on paper, where a pixel is 1/96 of one."""


def write_image(figure: go.Figure, path: str | Path, *, width: int | None = None, replace: bool = False) -> Path:
    """Draw a figure into a file; its background is transparent unless its layout says otherwise.

    Args:
        figure: Any plotly figure. TeX in it is not set, for that would load MathJax from the network.
        path: The file, ending in .png, .svg or .pdf; its folder is made if need be.
        width: Pixels from side to side; the figure's own when None, else 900 or what its names take.
        replace: Write over any file that is there, not over an earlier image only.

    Returns:
        The path of the file.

    Raises:
        InputError: The path ends otherwise, or kaleido or a browser is not installed.
        StorageError: The file cannot be written, there is one that is no image of the toolkit, or was changed since,
            or the browser gave up.
    """
    path = named(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in get_args(ImageFormat):
        raise InputError(f"{path} ends in none of .png, .svg and .pdf, the kinds of image that can be drawn")
    _draw({path: (figure, int(width or figure.layout.width or _width(least_width(figure))))}, replace=replace)
    return path


def write_images(run: Run, folder: str | Path, *, format: ImageFormat = "svg", replace: bool = False) -> list[Path]:
    """Draw every figure of a run's report into a file of its own.

    Figures across tasks are called as in the report, those of one fit `fits/<fit>-<figure>`.

    Args:
        run: The run.
        folder: Where the files go; it is made if need be, and earlier images of the same names are replaced.
        format: `png`, `svg` or `pdf`.
        replace: Write over any files of those names, not over earlier images only.

    Returns:
        The paths of the files.

    Raises:
        InputError: There are no fits, there is no such format, or kaleido or a browser is not installed.
        StorageError: The folder cannot be written, holds a file of the name of an image that is none of the toolkit,
            or the browser gave up.
    """
    if format not in get_args(ImageFormat):
        raise InputError(f"unknown image format {format!r}; choose one of {', '.join(get_args(ImageFormat))}")
    folder = named(folder)
    figures = {folder / f"{name}.{format}": part.figure for name, part in report_figures(run).items()}
    _draw({path: (figure, _width(least_width(figure))) for path, figure in figures.items()}, replace=replace)
    return list(figures)


def _width(least: int | None) -> int:
    return max(WIDTH, least or 0)


def _draw(drawings: Mapping[Path, tuple[go.Figure, int]], *, replace: bool) -> None:
    """Draw all figures, each with its width, in one browser, then put every file in its place.

    Whether the files may go there is asked first.
    """
    targets = {path: output_path(path, is_sealed, replace=replace) for path in drawings}
    for folder in {path.parent for path in targets.values()}:
        check_writable(folder)
    try:
        from kaleido import write_fig_from_object_sync
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError as error:
        raise InputError('images need kaleido; install it with: pip install "site_lens[images]"') from error
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {path: path.suffix.lower().removeprefix(".") for path in drawings}
        places = {path: Path(scratch) / f"{i}.{kind}" for i, (path, kind) in enumerate(kinds.items())}
        jobs = [
            {"fig": figure.to_dict(), "path": places[path],
             "opts": {"format": kinds[path], "width": width, "scale": PNG_SCALE if kinds[path] == "png" else 1}}
            for path, (figure, width) in drawings.items()
        ]  # fmt: skip
        try:
            # MathJax alone would come from the network; none of our figures uses it.
            errors = write_fig_from_object_sync(jobs, kopts={"mathjax": False})
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
        images = {path: _with_fixed_ids(place.read_bytes()) for path, place in places.items()}
    files = {targets[path]: sealed(image, path.suffix.lower()) for path, image in images.items()}
    write_output(files, is_sealed, replace=replace)


def _with_fixed_ids(image: bytes) -> bytes:
    """Put digests into the places of the random ids that plotly gives an SVG: the same figure is the same file."""
    random = list(dict.fromkeys(re.findall(rb'(?: id="defs-| trace)([0-9a-f]{6})"', image)))
    if not image.startswith(b"<svg") or not random:
        return image
    ids = re.compile(rb"(?<=[a-z-])(" + b"|".join(random) + rb")")
    rest = digest_bytes(ids.sub(b"", image))
    fixed = {name: digest_bytes(f"{rest}{i}".encode())[:6].encode() for i, name in enumerate(random)}
    return ids.sub(lambda match: fixed[match[1]], image)
