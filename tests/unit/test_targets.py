import colorsys
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped, unused-ignore]
from sklearn.datasets import load_sample_image  # type: ignore[import-untyped, unused-ignore]
from torch import Tensor

from eckart.data import targets

RANDOM: dict[str, Callable[[int], Tensor]] = {
    "gaussian": lambda seed: targets.gaussian(7, 5, seed),
    "uniform": lambda seed: targets.uniform(7, 5, seed),
    "symmetric": lambda seed: targets.symmetric(6, seed),
    "low_rank": lambda seed: targets.low_rank(7, 5, 2, seed),
}
SHAPES: dict[tuple[int, int], Callable[[], Tensor]] = {
    (3, 3): targets.lab,
    (4, 6): lambda: targets.gaussian(4, 6, 0),
    (6, 4): lambda: targets.uniform(6, 4, 0),
    (5, 5): lambda: targets.symmetric(5, 0),
    (4, 7): lambda: targets.low_rank(4, 7, 3, 0),
    (2, 5): lambda: targets.identity(2, 5),
    (8, 8): lambda: targets.diagonal(8),
    (30, 50): lambda: targets.photo(30, 50),
    (16, 16): lambda: targets.logo(16),
    (10, 10): targets.color_wheel,
    (1, 1): lambda: targets.logo(1),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_targets_are_finite_float64_of_the_asked_shape(shape: tuple[int, int]) -> None:
    matrix = SHAPES[shape]()
    assert matrix.shape == shape
    assert matrix.dtype == torch.float64
    assert matrix.device.type == "cpu"
    assert matrix.is_contiguous()
    assert torch.isfinite(matrix).all()


@pytest.mark.parametrize("name", RANDOM)
def test_random_targets_follow_their_seed_and_not_the_global_one(name: str) -> None:
    torch.manual_seed(0)
    first = RANDOM[name](3)
    torch.manual_seed(1)
    assert torch.equal(first, RANDOM[name](3))
    assert not torch.equal(first, RANDOM[name](4))


def test_lab_has_the_published_rank_2_residual() -> None:
    residual = np.linalg.svd(targets.lab().numpy(), compute_uv=False)[2] ** 2
    assert residual == pytest.approx(0.121911, abs=5e-7)


def test_lab_mask_is_a_fresh_copy() -> None:
    mask = targets.lab_mask()
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True, True, True], [False, True, True], [True, False, True]]
    mask[0, 0] = False
    assert targets.LAB_MASK[0, 0]


def test_random_targets_follow_their_laws() -> None:
    assert stats.kstest(targets.gaussian(60, 70, 0).numpy().ravel(), "norm").pvalue > 0.01
    assert stats.kstest(targets.uniform(60, 70, 0).numpy().ravel(), "uniform").pvalue > 0.01
    half = targets.symmetric(80, 0).numpy()
    # The mean of two uniforms is triangular on (0, 1); the diagonal stays uniform.
    assert stats.kstest(half[np.triu_indices(80, 1)], stats.triang(0.5).cdf).pvalue > 0.01
    assert stats.kstest(np.diag(half), "uniform").pvalue > 0.01
    assert np.array_equal(half, half.T)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_low_rank_has_exactly_that_rank(rank: int) -> None:
    assert np.linalg.matrix_rank(targets.low_rank(8, 5, rank, 0).numpy()) == rank


def test_diagonal_reaches_the_paper_s_rank_20_error() -> None:
    values = np.linalg.svd(targets.diagonal(50).numpy(), compute_uv=False)
    assert values[20] / values[0] == pytest.approx(29 / 49, abs=1e-12)
    assert np.array_equal(targets.diagonal(3, start=1).numpy(), np.diag([1.0, 2.0, 3.0]))
    assert np.array_equal(targets.identity(3, 2).numpy(), np.eye(3, 2))


def test_photo_is_the_centered_square_of_the_sample_image() -> None:
    height = 427
    left = (640 - height) // 2
    pixels = load_sample_image("china.jpg")[:, left : left + height].astype(float) @ [0.299, 0.587, 0.114] / 255
    # At the source's own height the resampling can only shift by the half pixel of 213 / 2.
    photo = targets.photo(height, height).numpy()
    assert np.corrcoef(photo.ravel(), pixels.ravel())[0, 1] > 0.97
    assert photo.mean() == pytest.approx(pixels.mean(), abs=2e-3)
    assert 0 <= photo.min() < 0.05
    assert 0.95 < photo.max() <= 1


@pytest.mark.parametrize(("rows", "cols", "block", "top", "left"), [(40, 64, 10, 13, 0), (61, 40, 7, 0, 180)])
def test_photo_is_never_stretched(rows: int, cols: int, block: int, top: int, left: int) -> None:
    pixels = load_sample_image("china.jpg").astype(float) @ [0.299, 0.587, 0.114] / 255
    crop = pixels[top : top + rows * block, left : left + cols * block]
    means = crop.reshape(rows, block, cols, block).mean(axis=(1, 3))
    assert np.corrcoef(targets.photo(rows, cols).numpy().ravel(), means.ravel())[0, 1] > 0.97


def test_logo_is_a_silhouette_that_rank_10_does_not_exhaust() -> None:
    logo = targets.logo().numpy()
    assert logo.shape == (256, 256)
    assert ((logo == 0) | (logo == 1)).mean() > 0.97
    assert 0.2 < logo.mean() < 0.5
    assert not logo[[0, -1]].any()
    assert not logo[:, [0, -1]].any()
    values = np.linalg.svd(logo, compute_uv=False)
    assert values[10] / values[0] == pytest.approx(0.0706, abs=5e-4)
    assert np.linalg.matrix_rank(logo) > 100


def test_logo_edges_are_antialiased_consistently_across_sizes() -> None:
    coarse = targets.logo(128).numpy()
    averaged = targets.logo(512).numpy().reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.abs(coarse - averaged).mean() < 0.005


def test_color_wheel_agrees_with_colorsys() -> None:
    rows, samples = 6, 12
    expected = np.zeros((rows, rows))
    for i in range(rows * samples):
        for j in range(rows * samples):
            x, y = (2 * j + 1) / (rows * samples) - 1, 1 - (2 * i + 1) / (rows * samples)
            red, green, blue = colorsys.hsv_to_rgb(math.atan2(y, x) / math.tau % 1, math.hypot(x, y), 1.0)
            inside = math.hypot(x, y) <= 1
            luminance = 0.299 * red + 0.587 * green + 0.114 * blue if inside else 1.0
            expected[i // samples, j // samples] += luminance / samples**2
    assert targets.color_wheel(rows).numpy() == pytest.approx(expected, abs=0.01)
    assert np.linalg.matrix_rank(targets.color_wheel().numpy()) == 10


@pytest.mark.parametrize("size", [0, -3, 2.5, "4", True])
def test_impossible_sizes_are_refused_in_one_line(size: int) -> None:
    calls: dict[str, list[Callable[[], Tensor]]] = {
        "rows": [
            lambda: targets.gaussian(size, 2, 0),
            lambda: targets.uniform(size, 2, 0),
            lambda: targets.symmetric(size, 0),
            lambda: targets.low_rank(size, 2, 1, 0),
            lambda: targets.identity(size, 2),
            lambda: targets.diagonal(size),
            lambda: targets.photo(size, 2),
            lambda: targets.logo(size),
            lambda: targets.color_wheel(size),
        ],
        "cols": [lambda: targets.gaussian(2, size, 0), lambda: targets.photo(2, size)],
        "rank": [lambda: targets.low_rank(2, 2, size, 0)],
    }
    for name, refused in calls.items():
        for call in refused:
            with pytest.raises(ValueError, match=rf"^The target's {name} must be an integer of at least 1\. Found .*$"):
                call()


def test_rank_and_start_laws() -> None:
    with pytest.raises(ValueError, match=r"1 <= rank <= min\(m, n\) = 2\. Found 3\."):
        targets.low_rank(4, 2, 3, 0)
    with pytest.raises(ValueError, match=r"The diagonal's start must be an integer\. Found 0\.5\."):
        targets.diagonal(3, 0.5)  # type: ignore[arg-type]
