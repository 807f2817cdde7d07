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
from eckart.results.aggregate import Spread
from eckart.results.colors import LEVELS, MISSING, color_map
from eckart.results.figures.curves import _accuracy, _convergence, _singular_values
from eckart.results.figures.labels import _components, _confusion
from eckart.results.figures.matrices import _approximation
from eckart.results.figures.ranks import ROUNDING, _accuracy_by_rank, _errors_by_rank
from eckart.results.style import save

Matrix = NDArray[np.float64]
TITLE = "Rank 3 keeps 40 % of the squared norm; relative Frobenius error 0.1235, the optimum"


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def gaussian(*shape: int) -> Matrix:
    return np.random.default_rng(0).standard_normal(shape)


def panels(target: Matrix, trained: Matrix, place: tuple[int, int, int, int] | None = None) -> Figure:
    names = {"target\nits size": target, "trained, rank 3\nerror 0.1235": trained, "truncated SVD\nerror 0.12": target}
    return _approximation(names, target - trained, TITLE, place)


def draw_approximation(path: Path, target: Matrix, trained: Matrix) -> Path:
    with np.errstate(invalid="ignore", over="ignore"):
        difference = target - trained
    matrices = {"target": target, "trained": trained, "truncated SVD": target}
    place = (1, target.shape[0], 1, target.shape[1])
    return figures.approximation(path, matrices, difference, title=TITLE, place=place)


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


@pytest.mark.parametrize("shape", [(40, 130), (20, 1), (400, 400)])
def test_approximation_of_any_shape_is_a_small_png(tmp_path: Path, shape: tuple[int, int]) -> None:
    target = gaussian(*shape)
    path = draw_approximation(tmp_path / "figures" / "approximation.png", target, 0.9 * target)
    assert path == tmp_path / "figures" / "approximation.png"
    check_png(path)


def test_matrices_share_the_scale_of_the_target_and_the_difference_has_its_own() -> None:
    target = gaussian(6, 5)
    figure = panels(target, 3 * target)
    images = [axes.images[0] for axes in figure.axes[:4]]
    largest = np.abs(target).max()
    for image, values, limit in zip(
        images, (target, 3 * target, target, -2 * target), (largest, largest, largest, 2 * largest), strict=True
    ):
        np.testing.assert_allclose(image.get_clim(), (-limit, limit))
        np.testing.assert_allclose(np.asarray(image.get_array()), np.clip(values, -limit, limit))
        np.testing.assert_array_equal(image.cmap(0.5, bytes=True)[:3], color_map(signed=True)[LEVELS // 2])
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == [
        "target\nits size",
        "trained, rank 3\nerror 0.1235",
        "truncated SVD\nerror 0.12",
        "what is missing\nown scale",
    ]
    assert figure.get_suptitle() == TITLE
    assert panels(target, target + 1e-12).axes[3].get_title() == "what is missing\nrounding alone"


def test_pixels_have_the_color_of_their_value(tmp_path: Path) -> None:
    target = np.array([[0.0, 1.0], [np.nan, 0.0]])
    half = np.full((2, 2), 0.5)
    figure = panels(target, half, place=(1, 2, 1, 2))
    figure.draw_without_rendering()
    missing = tuple(bytes.fromhex(MISSING[False][1:]))
    gray = {value: tuple(color_map(signed=False)[value].tolist()) for value in (0, 63, 126)}
    below, above = (tuple(color_map(signed=True)[place].tolist()) for place in (0, -1))
    panel_colors = (
        (0, (gray[0], gray[126], missing, gray[0])),
        (1, (gray[63],) * 4),
        (3, (below, above, tuple(bytes.fromhex(MISSING[True][1:])), below)),
    )
    with Image.open(save(figure, tmp_path / "approximation.png")).convert("RGB") as image:
        for panel, expected in panel_colors:
            box = figure.axes[panel].get_window_extent()
            for (x, y), color in zip(((0.25, 0.75), (0.75, 0.75), (0.25, 0.25), (0.75, 0.25)), expected, strict=True):
                found = image.getpixel((int(box.x0 + x * box.width), int(image.height - box.y0 - y * box.height)))
                assert found == color
        assert image.getpixel((2, image.height - 2)) == (255, 255, 255)


@pytest.mark.parametrize(("factor", "extend"), [(0.5, "neither"), (3.0, "both")])
def test_color_bar_tells_whether_an_approximation_leaves_the_scale(factor: float, extend: str) -> None:
    target = gaussian(6, 5)
    colorbar = panels(target, factor * target).axes[2].images[0].colorbar
    assert colorbar is not None
    assert colorbar.extend == extend


def test_rows_and_columns_are_counted_as_in_the_whole_target() -> None:
    figure = panels(gaussian(5, 5), gaussian(5, 5), place=(1, 500, 1, 50))
    assert figure.axes[0].get_xlim() == (0.5, 50.5) and figure.axes[0].get_ylim() == (500.5, 0.5)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("column", "row")
    images = panels(gaussian(5, 5), gaussian(5, 5))
    assert not images.axes[0].get_xticks().size and not images.axes[0].get_xlabel()


def test_approximation_refuses_different_shapes(tmp_path: Path) -> None:
    matrices = {"target": np.ones((2, 3)), "trained": np.ones((3, 2))}
    with pytest.raises(ValueError, match=r"must have one shape. Found \(2, 3\), \(3, 2\)"):
        figures.approximation(tmp_path / "approximation.png", matrices, np.ones((2, 3)), title="")
    assert not list(tmp_path.iterdir())


@settings(max_examples=3, deadline=None)
@given(rows=st.integers(1, 400), columns=st.integers(1, 400))
def test_titles_lie_inside_the_figure_and_apart(rows: int, columns: int) -> None:
    target = np.ones((rows, columns))
    figure = panels(target, target, place=(1, rows, 1, columns))
    figure.draw_without_rendering()
    assert figure._suptitle is not None  # type: ignore[attr-defined]
    texts = [*(axes.title for axes in figure.axes[:4]), figure._suptitle]  # type: ignore[attr-defined]
    boxes = [text.get_window_extent() for text in texts]
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
        (gaussian(4, 4), np.full((4, 4), np.nan)),
        (1e-300 * gaussian(4, 4), gaussian(4, 4)),
    ],
)
def test_degenerate_matrices_are_drawn(tmp_path: Path, target: Matrix, trained: Matrix) -> None:
    check_png(draw_approximation(tmp_path / "approximation.png", target, trained))


def test_convergence_draws_curves_above_floors_of_their_color() -> None:
    steps, two, frobenius = [0, 10, 20], [0.9, 0.4, 0.2], [0.8, 0.3, 0.15]
    figure = _convergence(steps, [3.0, 1.0, 0.1], {"2-norm": (two, 0.19), "Frobenius": (frobenius, 0.05)})
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
    figure = _convergence(range(17), errors**2, {"2-norm": (errors, 0.0), "Frobenius": (errors, 1e-16)})
    assert {"2-norm optimum 0, off scale", "Frobenius optimum 1e-16"} <= set(lines(figure, 1))
    low, high = figure.axes[1].get_ylim()
    assert 1e-18 < low < 1e-16
    assert 1.0 < high < 10.0


def test_markers_are_drawn_for_few_points_only() -> None:
    for count, marker in ((1, "o"), (30, "o"), (31, "")):
        figure = _accuracy(range(count), np.ones(count), np.ones(count))
        assert str(figure.axes[0].lines[0].get_marker()).replace("None", "") == marker


@pytest.mark.parametrize(
    "history",
    [[0.5], [0.0, 0.0], [1.0, 0.0], [1.0, np.inf], [np.nan], [1e-16, 1e-300, 1e305]],
    ids=str,
)
def test_degenerate_histories_are_drawn(history: list[float]) -> None:
    errors = {"2-norm": (history, 0.0), "Frobenius": (history, 0.5)}
    _convergence(range(len(history)), history, errors).draw_without_rendering()


def test_convergence_of_a_diverged_run_is_a_small_png(tmp_path: Path) -> None:
    history = [1.0, 1e308, np.inf, np.nan]
    check_png(figures.convergence(tmp_path / "convergence.png", range(4), history, history, history, 0.0, 0.5))


def test_spectrum_is_cut_at_the_rank_and_at_rounding() -> None:
    target = gaussian(8, 6)
    u, s, vh = np.linalg.svd(target, full_matrices=False)
    trained = np.linalg.svd((u[:, :3] * s[:3]) @ vh[:3], compute_uv=False)
    figure = _singular_values(s, trained, 3)
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
    _singular_values(target, trained, 1).draw_without_rendering()


def test_accuracy_is_in_percent(tmp_path: Path) -> None:
    check_png(figures.accuracy(tmp_path / "accuracy.png", [1, 2], [498.0, 301.0], [0.83, 0.91]))
    figure = _accuracy([1, 2], [498.0, 301.0], [0.83, 0.91])
    figure.draw_without_rendering()
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.83, 0.91])
    ticks = {label.get_text(): label.get_position()[1] for label in figure.axes[1].get_yticklabels()}
    assert len(ticks) > 2
    for text, position in ticks.items():
        assert float(text.removesuffix(" %")) == pytest.approx(100 * position)


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


def test_components_are_images_on_one_scale_with_zero_in_the_middle() -> None:
    vectors = np.linalg.svd(gaussian(30, 6))[2]
    figure = _components(vectors[:3], [0.5, 0.25, 0.125], (2, 3))
    for axes, vector in zip(figure.axes, vectors[:3], strict=False):
        (image,) = axes.images
        assert image.get_clim() == (-np.abs(vectors[:3]).max(), np.abs(vectors[:3]).max())
        drawn = np.asarray(image.get_array())
        np.testing.assert_allclose(np.abs(drawn), np.abs(vector.reshape(2, 3)))
        assert drawn.flat[np.abs(drawn).argmax()] > 0
    assert [axes.get_title() for axes in figure.axes[:3]] == ["1: 50 %", "2: 25 %", "3: 12 %"]
    assert figure.get_suptitle() == "Each image is made of 3 components, which hold 87.5 % of the squared norm"


def test_confusion_is_counted_and_colored_by_its_part_of_the_class() -> None:
    figure = _confusion([[9, 1, 0], [0, 3, 1], [0, 0, 0]])
    axes = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "9",
        (1, 0): "1",
        (1, 1): "3",
        (2, 1): "1",
    }
    parts: Matrix = np.asarray(axes.images[0].get_array(), float) ** 2
    np.testing.assert_allclose(parts, np.array([[0.9, 0.1, 0], [0, 0.75, 0.25], [0, 0, 0]]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert figure.get_suptitle().startswith("12 of 14 test samples are classified correctly")


def test_errors_by_rank_stand_on_the_optimum_and_published_ones_beside_them() -> None:
    optimum, excess = {1: 0.5, 2: 0.3}, {"net": {1: -1e-17, 2: 0.1}}
    figure = _errors_by_rank(optimum, excess, TITLE, "2-norm", ("the paper", {1: 0.25, 2: 0.5, 3: 0.75}))
    left, right = lines(figure, 0), figure.axes[1].lines
    np.testing.assert_allclose(np.asarray(left["net"].get_ydata(), float), [0.5, 0.4])
    np.testing.assert_allclose(np.asarray(left["the paper"].get_ydata(), float), [0.75, 0.8])
    np.testing.assert_allclose(np.asarray(right[0].get_ydata(), float), [0.25, 0.5])
    np.testing.assert_allclose(np.asarray(right[1].get_ydata(), float), [ROUNDING, 0.1])
    assert figure.axes[1].get_yscale() == "log"
    assert figure.axes[0].get_ylim()[0] == 0


def test_accuracy_by_rank_has_its_deviations() -> None:
    spreads = {64: Spread(0.97, None), 2: Spread(0.4, 0.1), 16: Spread(0.9, 0.05)}
    figure = _accuracy_by_rank({"classifier": spreads}, TITLE)
    line, _, (bars,) = figure.axes[0].containers[0].lines  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [0.4, 0.9, 0.97])
    ends = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.3, 0.5], [0.85, 0.95], [0.97, 0.97]])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "16", "64"]
    assert figure.axes[0].get_xscale() == "log"
