"""Curves, scales and files of figures."""

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image

from eckart.results.style import GRAY, curve, finite, label_decades, log_scale, rank_axis, save


def axes() -> Any:
    return Figure(figsize=(4, 3)).add_subplot()


@pytest.mark.parametrize(
    ("fine", "expected"),
    [(False, [1, 2, 5, 10, 20, 50, 100]), (True, [1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100])],
)
def test_ticks_of_a_decade_are_in_plain_digits(fine: bool, expected: list[float]) -> None:
    where = axes()
    where.set_yscale("log")
    label_decades(where.yaxis, fine=fine)
    ticks = [tick for tick in where.yaxis.get_major_locator().tick_values(1, 100) if 0.99 < tick < 101]
    np.testing.assert_allclose(ticks, expected)
    assert where.yaxis.get_major_formatter()(1.5) == "1.5" and where.yaxis.get_major_formatter()(100) == "100"
    assert isinstance(where.yaxis.get_minor_formatter(), NullFormatter)


@pytest.mark.parametrize(("points", "marker"), [(30, "o"), (31, "")])
def test_a_curve_of_few_points_is_marked(points: int, marker: str) -> None:
    where = axes()
    curve(where, range(points), np.ones(points), "#0072B2", label="loss", width=2.0)
    (line,) = where.lines
    assert (line.get_color(), line.get_label(), line.get_linewidth(), line.get_markersize()) == (
        "#0072B2",
        "loss",
        2.0,
        5.0,
    )
    assert line.get_marker() == marker
    assert not where.texts
    locator = where.xaxis.get_major_locator()
    assert isinstance(locator, MaxNLocator)
    ticks = np.asarray(locator.tick_values(0, 3))
    assert np.array_equal(ticks, ticks.round())


def test_a_curve_is_thin_and_without_a_name_unless_it_is_given_one() -> None:
    where = axes()
    curve(where, [0, 1], [1.0, np.inf], "black")
    (line,) = where.lines
    assert line.get_linewidth() == 1.6 and str(line.get_label()).startswith("_child")
    np.testing.assert_array_equal(line.get_ydata(), [1.0, np.nan])


def test_a_curve_without_a_finite_value_says_so_in_the_middle() -> None:
    where = axes()
    curve(where, [0, 1], [np.nan, np.inf], "black")
    (text,) = where.texts
    assert (text.get_text(), text.get_position()) == ("no finite values", (0.5, 0.5))
    assert text.get_transform() == where.transAxes
    assert (text.get_ha(), text.get_va(), to_hex(text.get_color()).upper()) == ("center", "center", GRAY)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1.0, 3.0], "log"), ([1.0, 2.9], "linear"), ([0.0, 1.0, 2.0], "linear"), ([np.nan], "linear"), ([], "linear")],
)
def test_values_that_differ_by_a_factor_of_three_have_a_logarithmic_scale(values: list[float], scale: str) -> None:
    where = axes()
    log_scale(where, values)
    assert where.get_yscale() == scale


def test_limits_of_a_logarithmic_scale_leave_a_twentieth_and_are_bounded() -> None:
    where = axes()
    log_scale(where, [1e-4], [1.0, np.inf])
    np.testing.assert_allclose(where.get_ylim(), (10**-4.2, 10**0.2))
    log_scale(where, [1e-300, 1e300])
    np.testing.assert_allclose(where.get_ylim(), (1e-200, 1e200))
    where = axes()
    log_scale(where, [1e-9, 1.0, 100.0], smallest=1e-9)
    np.testing.assert_allclose(where.get_ylim(), (10**-0.1, 10**2.1))


@pytest.mark.parametrize(
    ("largest", "count"), [(4.0, 5), (10.0, 4), (900.0, 9), (1000.0, None)], ids=["fine", "decade", "three", "many"]
)
def test_a_scale_of_few_decades_is_labeled_more_finely(largest: float, count: int | None) -> None:
    where = axes()
    log_scale(where, [1.0, largest])
    ticks = [tick for tick in where.yaxis.get_major_locator()() if 0.999 <= tick <= largest * 1.001]
    # Beyond three decades Matplotlib chooses.
    assert count is None or len(ticks) == count
    assert (where.yaxis.get_major_formatter()(2.0) == "2") == (count is not None)


def test_a_figure_is_a_png_of_a_palette_whatever_the_settings(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1), dpi=50)
    with matplotlib.rc_context({"savefig.format": "pdf", "savefig.dpi": "figure"}):
        assert save(figure, tmp_path / "a" / "b.png") == tmp_path / "a" / "b.png"
    with Image.open(tmp_path / "a" / "b.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (100, 50))


def test_an_svg_is_the_same_each_time_and_holds_no_script_and_small_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    figure = Figure(figsize=(3, 3))
    figure.subplots().imshow(rng.standard_normal((80, 80)), interpolation="none")
    content = save(figure, tmp_path / "a.svg").read_bytes()
    assert save(figure, tmp_path / "b.svg").read_bytes() == content
    assert not re.search(rb"<script|<dc:date|javascript|http://(?!www.w3.org|creativecommons|purl)", content)
    (image,) = re.findall(rb'base64,([^"]+)"', content)
    with Image.open(BytesIO(base64.b64decode(image))) as picture:
        assert (picture.mode, picture.size) == ("P", (80, 80))
    assert len(content) < 60_000


def test_white_stays_white_beside_a_matrix(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 2), dpi=50)
    figure.subplots().imshow(np.eye(3), cmap="gray")
    with Image.open(save(figure, tmp_path / "a.png")) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("ranks", "scale", "labels"),
    [
        ([1, 2, 3], "linear", ["1", "2", "3"]),
        ([2, 4, 8, 16, 64], "log", ["2", "4", "8", "16", "64"]),
        (list(range(1, 10)), "linear", [str(rank) for rank in range(1, 10)]),
    ],
)
def test_ranks_that_double_have_equal_distances(ranks: list[int], scale: str, labels: list[str]) -> None:
    where = axes()
    where.plot(ranks, ranks)
    rank_axis(where, ranks)
    assert where.get_xscale() == scale
    assert [label.get_text() for label in where.get_xticklabels()] == labels
    assert where.get_xlabel() == "rank"


def test_infinities_become_nan() -> None:
    np.testing.assert_array_equal(finite([1, np.inf, -np.inf, np.nan]), [1.0, np.nan, np.nan, np.nan])
    assert finite([1]).dtype == np.float64
