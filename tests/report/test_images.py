"""Image files: what is drawn, under which names, and what is said where it cannot be drawn."""

import struct
from pathlib import Path

import plotly.graph_objects as go
import pytest
from choreographer.browsers.chromium import Chromium

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.report import write_image, write_images
from site_lens.report.images import _job, pixels_of
from site_lens.report.report import report_figures
from tests.fakes import fake_evaluation, fake_fit, fake_fits

drawing = pytest.mark.skipif(
    Chromium.find_browser(skip_local=False) is None, reason="no Chromium or Chrome; apt-get install chromium"
)


@drawing
def test_a_figure_becomes_an_image_of_the_kind_that_the_path_says(tmp_path: Path) -> None:
    for kind, begins, holds in (("SVG", b"<svg", b">antonym</text>"), ("pdf", b"%PDF", b"%%EOF")):
        path = write_image(sl.plots.head_map(fake_fit("antonym")), tmp_path / kind / f"map.{kind}")
        assert path.read_bytes().startswith(begins)
        assert holds in path.read_bytes()
        assert list(path.parent.iterdir()) == [path]


@drawing
def test_a_png_is_as_wide_as_asked_with_two_dots_a_pixel(tmp_path: Path) -> None:
    figure = go.Figure(layout={"width": 300, "height": 200})
    png = write_image(figure, tmp_path / "small.png", width=250).read_bytes()
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (2 * 250, 2 * 200)


def test_lengths_are_read_with_their_units() -> None:
    for length, pixels in (("3.3in", 316.8), ("2.54 cm", 96), ("84mm", 317.48), ("240pt", 320), (300, 300), ("90", 90)):
        assert pixels_of(length) == pytest.approx(pixels, abs=0.01)
    for wrong in ("wide", "3.3 ft", "-3in", "1mm", 0, "1e9in", "", "500in"):
        with pytest.raises(sl.InputError):
            pixels_of(wrong)


def test_a_figure_is_enlarged_to_the_size_of_its_font_and_arranged_for_its_width() -> None:
    figure = sl.plots.head_maps(fake_fits(["a", "b", "c", "d"]), columns=4)
    paper = _job(figure, "3.3in", "2in", 8, "Times", False)
    scale, layout = paper["opts"]["scale"], paper["fig"]["layout"]
    assert paper["opts"]["width"] * scale == pytest.approx(316.8)
    assert scale * 12 == pytest.approx(8 * 96 / 72)  # 12 pixels is the ordinary size
    assert layout["height"] * scale == pytest.approx(192, abs=1)
    assert "title" not in layout and layout["font"]["family"] == "Times"
    assert len({round(name["x"], 3) for name in layout["annotations"]}) == 2  # columns on a narrow image
    plain = _job(figure, None, None, None, None, True)
    assert plain["opts"] == {"width": figure.layout.width, "scale": 1}
    assert plain["fig"]["layout"]["title"]["text"] == figure.layout.title.text
    wide = _job(go.Figure(layout={"meta": {"least_width": 1300}}), None, None, None, None, True)
    assert wide["opts"]["width"] == 1300  # as its names need
    for font_size, font in ((0.1, None), (None, " ")):
        with pytest.raises(sl.InputError):
            _job(figure, None, None, font_size, font, True)


@drawing
def test_every_figure_of_a_report_becomes_a_file(tmp_path: Path) -> None:
    run = sl.Run(fake_fits(["antonym"]))
    paths = write_images(run, tmp_path, format="svg")
    assert sorted(paths) == sorted(tmp_path.rglob("*.svg"))
    assert {str(path.relative_to(tmp_path)) for path in paths} == {f"{name}.svg" for name in report_figures(run)}
    assert all(path.read_bytes().startswith(b"<svg") for path in paths)


def test_figures_are_named_by_what_they_show_and_those_of_fits_by_their_fit() -> None:
    tasks = ["antonym", "a task / with odd signs"]
    fits = sl.SiteFits([fake_fit("antonym", 0), fake_fit("antonym", 1), fake_fit(tasks[1])])
    run = sl.Run(fits, {ZERO_EMBEDDING: fake_fits(tasks)}, sl.Evaluations(fake_evaluation(task) for task in tasks))
    names = report_figures(run)
    assert {"accuracy", "head-maps", f"{ZERO_EMBEDDING}-maps"} <= names.keys()
    of_fits = sorted(name for name in names if name.startswith("fits/"))
    assert len(of_fits) == 3 * 4 + 1  # the spread over seeds stands with the first
    assert of_fits[0].startswith("fits/a_task_with_odd_signs-")
