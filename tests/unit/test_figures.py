import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from eckart.results import figures
from eckart.results.style import save

Matrix = NDArray[np.float64]
CAPTIONS = (
    "Trained, rank 3\nrelative Frobenius error 0.1235",
    "Truncated SVD, rank 3\nrelative Frobenius error 0.1234",
)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def gaussian(*shape: int) -> Matrix:
    return np.random.default_rng(0).standard_normal(shape)


def draw_approximation(path: Path, target: Matrix, trained: Matrix, shape: tuple[int, int] | None = None) -> Path:
    return figures.approximation(
        path,
        target,
        trained,
        target,
        shape=shape or (target.shape[0], target.shape[1]),
        rank=1,
        relative_frobenius=0.5,
        optimum_frobenius=0.25,
    )


def check_png(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < 500_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        assert 1200 <= image.width <= 1600
        assert 200 <= image.height <= 1600
        colors = image.convert("RGB").getcolors(1 << 24)
        assert colors is not None
        assert len(colors) > 2


def lines(figure: Figure, panel: int) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in figure.axes[panel].lines}


@pytest.mark.parametrize("shape", [(10, 10), (500, 50), (50, 500), (1, 20), (20, 1), (512, 512)])
def test_approximation_of_any_shape_is_a_small_png(tmp_path: Path, shape: tuple[int, int]) -> None:
    target = gaussian(*shape)
    path = draw_approximation(tmp_path / "figures" / "approximation.png", target, 0.9 * target)
    assert path == tmp_path / "figures" / "approximation.png"
    check_png(path)


def test_panels_show_the_values_on_the_scale_of_the_target() -> None:
    target = gaussian(6, 5)
    figure = figures._approximation(target, 3 * target, 0.5 * target, (6, 5), CAPTIONS)
    images = [axes.images[0] for axes in figure.axes[:3]]
    assert len({id(image.norm) for image in images}) == 1
    assert images[0].get_clim() == (target.min(), target.max())
    assert len({id(image.cmap) for image in images}) == 1
    for image, values in zip(
        images, (target, np.clip(3 * target, target.min(), target.max()), 0.5 * target), strict=True
    ):
        np.testing.assert_allclose(np.asarray(image.get_array()), values)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["Target\n6 × 5", *CAPTIONS]


def test_pixels_have_the_color_of_their_value(tmp_path: Path) -> None:
    target = np.array([[0.0, 1.0], [1.0, 0.0]])
    path = draw_approximation(tmp_path / "approximation.png", target, np.full((2, 2), 0.5))
    figure = figures._approximation(target, np.full((2, 2), 0.5), target, (2, 2), CAPTIONS)
    figure.draw_without_rendering()
    with Image.open(path).convert("RGB") as image:
        for panel, expected in ((0, (0, 255, 255, 0)), (1, (127, 127, 127, 127)), (2, (0, 255, 255, 0))):
            box = figure.axes[panel].get_window_extent()
            for (x, y), level in zip(((0.25, 0.75), (0.75, 0.75), (0.25, 0.25), (0.75, 0.25)), expected, strict=True):
                color = image.getpixel((int(box.x0 + x * box.width), int(image.height - box.y0 - y * box.height)))
                assert color == pytest.approx((level,) * 3, abs=2)


def test_palette_keeps_rare_colors(tmp_path: Path) -> None:
    target = np.clip(gaussian(300, 300), -2.0, 2.0)
    target[:100, :100], target[:100, 100:200] = -3.0, 3.0
    figure = figures._approximation(target, 0 * target, 0 * target, (300, 300), CAPTIONS)
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    with Image.open(draw_approximation(tmp_path / "a.png", target, 0 * target)).convert("RGB") as image:
        for x, value in ((1 / 6, 0.0), (1 / 2, 1.0)):
            color = image.getpixel((int(box.x0 + x * box.width), int(image.height - box.y1 + box.height / 6)))
            expected = 255 * np.array(matplotlib.colormaps["viridis"](value)[:3])
            assert isinstance(color, tuple)
            np.testing.assert_allclose(color, expected, atol=3)


@pytest.mark.parametrize(("factor", "extend"), [(0.5, "neither"), (3.0, "both")])
def test_color_bar_tells_whether_an_approximation_leaves_the_scale(factor: float, extend: str) -> None:
    target = gaussian(6, 5)
    figure = figures._approximation(target, factor * target, target, (6, 5), CAPTIONS)
    assert figure.axes[0].images[0].get_cmap().name.startswith("viridis")
    colorbar = figure.axes[2].images[0].colorbar
    assert colorbar is not None
    assert colorbar.extend == extend


def test_large_matrix_shows_its_leading_block() -> None:
    target = gaussian(600, 520)
    figure = figures._approximation(target, target, target, (60000, 784), CAPTIONS)
    assert figure.axes[0].get_title() == "Target\nleading 512 × 512 block of 60000 × 784"
    np.testing.assert_array_equal(np.asarray(figure.axes[0].images[0].get_array()), target[:512, :512])


def test_approximation_refuses_different_shapes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must have one shape. Found \(2, 3\), \(3, 2\), \(2, 3\)"):
        draw_approximation(tmp_path / "approximation.png", np.ones((2, 3)), np.ones((3, 2)))
    assert not list(tmp_path.iterdir())


@settings(max_examples=6, deadline=None)
@given(rows=st.integers(1, 600), columns=st.integers(1, 600))
def test_titles_lie_inside_the_figure_and_apart(rows: int, columns: int) -> None:
    target = np.ones((rows, columns))
    figure = figures._approximation(target, target, target, (rows, columns), CAPTIONS)
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes[:3]]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize(
    ("target", "trained"),
    [
        (np.ones((1, 1)), np.full((1, 1), np.inf)),
        (np.full((4, 4), -2.0), np.zeros((4, 4))),
        (np.zeros((3, 4)), np.zeros((3, 4))),
        (gaussian(4, 4), np.full((4, 4), np.nan)),
        (gaussian(4, 4), 1e300 * gaussian(4, 4)),
        (1e-300 * gaussian(4, 4), gaussian(4, 4)),
    ],
)
def test_degenerate_matrices_are_drawn(tmp_path: Path, target: Matrix, trained: Matrix) -> None:
    check_png(draw_approximation(tmp_path / "approximation.png", target, trained))


def test_convergence_draws_curves_above_floors_of_their_color() -> None:
    steps, two, frobenius = [0, 10, 20], [0.9, 0.4, 0.2], [0.8, 0.3, 0.15]
    figure = figures._convergence(steps, [3.0, 1.0, 0.1], {"2-norm": (two, 0.19), "Frobenius": (frobenius, 0.05)})
    drawn = lines(figure, 1)
    for name, values, floor in (("2-norm", two, 0.19), ("Frobenius", frobenius, 0.05)):
        curve, optimum = drawn[f"{name} error"], drawn[f"{name} optimum {floor}"]
        np.testing.assert_array_equal(curve.get_xdata(), steps)
        np.testing.assert_array_equal(curve.get_ydata(), values)
        np.testing.assert_array_equal(optimum.get_ydata(), [floor, floor])
        assert optimum.get_linestyle() == "--"
        assert optimum.get_color() == curve.get_color()
        assert figure.axes[1].get_ylim()[0] < floor
    assert drawn["2-norm error"].get_color() != drawn["Frobenius error"].get_color()
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert figure.axes[1].get_ylabel() == "relative error"


def test_optimum_zero_is_named_as_off_the_scale() -> None:
    errors = 10.0 ** -np.arange(17)
    figure = figures._convergence(range(17), errors**2, {"2-norm": (errors, 0.0), "Frobenius": (errors, 1e-16)})
    assert {"2-norm optimum 0, off scale", "Frobenius optimum 1e-16"} <= set(lines(figure, 1))
    low, high = figure.axes[1].get_ylim()
    assert 1e-18 < low < 1e-16
    assert 1.0 < high < 10.0


def test_markers_are_drawn_for_few_points_only() -> None:
    for count, marker in ((1, "o"), (30, "o"), (31, "")):
        figure = figures._accuracy(range(count), np.ones(count), np.ones(count))
        assert str(figure.axes[0].lines[0].get_marker()).replace("None", "") == marker


@pytest.mark.parametrize(
    "history",
    [[0.5], [0.0, 0.0], [1.0, 0.0], [1.0, np.inf], [np.nan], [1e-16, 1e-300, 1e305]],
    ids=str,
)
def test_degenerate_histories_are_drawn(history: list[float]) -> None:
    errors = {"2-norm": (history, 0.0), "Frobenius": (history, 0.5)}
    figures._convergence(range(len(history)), history, errors).draw_without_rendering()


def test_convergence_of_a_diverged_run_is_a_small_png(tmp_path: Path) -> None:
    history = [1.0, 1e308, np.inf, np.nan]
    check_png(figures.convergence(tmp_path / "convergence.png", range(4), history, history, history, 0.0, 0.5))


def test_spectrum_is_cut_at_the_rank_and_at_rounding() -> None:
    target = gaussian(8, 6)
    u, s, vh = np.linalg.svd(target, full_matrices=False)
    trained = np.linalg.svd((u[:, :3] * s[:3]) @ vh[:3], compute_uv=False)
    figure = figures._singular_values(s, trained, 3)
    drawn = lines(figure, 0)
    np.testing.assert_array_equal(drawn["target"].get_xdata(), np.arange(1, 7))
    np.testing.assert_allclose(np.asarray(drawn["target"].get_ydata(), float), s)
    ydata = np.asarray(drawn["trained"].get_ydata(), float)
    np.testing.assert_allclose(ydata[:3], s[:3])
    assert np.isnan(ydata[3:]).all()
    np.testing.assert_array_equal(drawn["rank 3"].get_xdata(), [3, 3])


@pytest.mark.parametrize(
    ("target", "trained"),
    [
        (np.geomspace(1e4, 1e-8, 784), np.geomspace(1e4, 1e3, 16)),
        (np.zeros(5), np.zeros(5)),
        ([1.0], [1.0]),
        ([1.0, 1e-300], [np.nan, np.nan]),
        (np.ones(50), np.ones(20)),
    ],
)
def test_spectra_are_drawn(target: Matrix, trained: Matrix) -> None:
    figures._singular_values(target, trained, 1).draw_without_rendering()


def test_accuracy_is_in_percent(tmp_path: Path) -> None:
    check_png(figures.accuracy(tmp_path / "accuracy.png", [1, 2], [498.0, 301.0], [0.83, 0.91]))
    figure = figures._accuracy([1, 2], [498.0, 301.0], [0.83, 0.91])
    figure.draw_without_rendering()
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.83, 0.91])
    ticks = {label.get_text(): label.get_position()[1] for label in figure.axes[1].get_yticklabels()}
    assert len(ticks) > 2
    for text, position in ticks.items():
        assert float(text.removesuffix("%")) == pytest.approx(100 * position)


def test_tensors_draw_as_arrays_do(tmp_path: Path) -> None:
    spectrum = np.array([3.0, 2.0, 1.0], dtype=np.float32)
    from_array = figures.singular_values(tmp_path / "array.png", spectrum, spectrum, 2)
    tensor = torch.from_numpy(spectrum)
    assert figures.singular_values(tmp_path / "tensor.png", tensor, tensor, 2).read_bytes() == from_array.read_bytes()
    from_array.unlink()
    check_png(tmp_path / "tensor.png")


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    occupied = tmp_path / "figure.png"
    occupied.mkdir()
    with pytest.raises(OSError, match=r"figure\.png"):
        save(Figure(), occupied)
    assert list(tmp_path.iterdir()) == [occupied]


def test_style_stays_inside(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figures.accuracy(tmp_path / "accuracy.png", [1], [1.0], [0.5])
    assert dict(matplotlib.rcParams) == before
    imported = "import sys, eckart.results.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imported], check=False).returncode == 0
