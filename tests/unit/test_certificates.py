import math

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.certificates import Certificate, bound_outside, bounds_of, certify, gram_bounds
from eckart.linalg.gram_lanczos import probe_outside
from eckart.linalg.leading import leading
from eckart.linalg.operators import Dense, MatrixFree, Residual

pytestmark = pytest.mark.usefixtures("one_thread")

PLACES = np.arange(1, 61)
SPECTRA = {
    "slow": 1 / PLACES,
    "fast": np.exp(-PLACES / 3),
    "far": 10.0 ** (-12 * PLACES / 60),
    "steps": 10.0 ** -np.ceil(PLACES / 6),
    "tied": np.where(PLACES <= 4, 1.0, np.where(PLACES <= 30, 0.9, 0.1)),
    "nearly tied": np.where(PLACES <= 5, 1.0, np.where(PLACES <= 9, 1 - 1e-9, 0.5)),
    "rank 5": np.where(PLACES <= 5, 1.0, 0.0),
    "tiny": 1e-100 / PLACES,
    "huge": 1e100 / PLACES,
}
MATRICES = {name: with_spectrum(80, 60, spectrum) for name, spectrum in SPECTRA.items()}
MATRICES |= {
    "flat": gaussian(60, 90),
    "wide": with_spectrum(60, 100, SPECTRA["slow"]),
    "signs": gaussian(70, 60).sign(),
}


def _holds(bounds: Certificate, matrix: Tensor, left: float | None = None) -> None:
    """Every interval holds the value of a full SVD."""
    s, rank = torch.linalg.svdvals(matrix).tolist(), bounds.rank
    norm = math.hypot(*s)
    optimum = s[rank] / s[0], math.hypot(*s[rank:]) / norm
    values = s[0], s[rank], math.fsum((value / s[0]) ** 2 for value in s[:rank]) * s[0] ** 2, *optimum
    intervals = bounds.largest, bounds.following, bounds.kept, *bounds.optimum(norm, left)
    for (low, high), value in zip(intervals, values, strict=True):
        assert low <= value <= high


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("rank", [1, 5, 8])
@pytest.mark.parametrize("more", [0, 4])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-3])
def test_every_interval_holds_the_svd(name: str, rank: int, more: int, noise: float) -> None:
    matrix = MATRICES[name]
    right = torch.linalg.svd(matrix).Vh[: rank + more].mT
    basis = torch.linalg.qr(right + noise * gaussian(*right.shape, seed=1)).Q
    bounds = certify(Dense(matrix), basis, rank, steps=12)
    best = torch.linalg.svd(matrix @ basis)[2][:rank] @ basis.mT
    left = torch.linalg.matrix_norm(matrix - matrix @ best.mT @ best).item()
    _holds(bounds, matrix)
    _holds(bounds, matrix, left)
    s = torch.linalg.svdvals(matrix)
    kept = (matrix / s[0] @ best.mT).square().sum()
    assert bounds.missed / s[0].item() ** 2 >= (s[:rank] / s[0]).square().sum() - kept - 1e-14 * rank


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("rank", [1, 5, 59])
def test_the_intervals_of_a_gram_matrix_hold_the_svd(name: str, rank: int) -> None:
    matrix = MATRICES[name]
    small = matrix if matrix.shape[0] < matrix.shape[1] else matrix.mT
    bounds = gram_bounds(torch.linalg.eigvalsh(small @ small.mT).flip(0), rank, (matrix.shape[0], matrix.shape[1]))
    _holds(bounds, matrix)


@pytest.mark.parametrize(("name", "width"), [("slow", 1e-11), ("fast", 1e-11), ("tied", 1e-11), ("far", 1e-11)])
def test_singular_vectors_make_the_intervals_as_narrow_as_rounding(name: str, width: float) -> None:
    matrix = MATRICES[name]
    bounds = certify(Dense(matrix), torch.linalg.svd(matrix).Vh[:8].mT, 4)
    for low, high in bounds.optimum(torch.linalg.matrix_norm(matrix).item()):
        assert high - low <= width


def test_the_interval_shrinks_as_the_square_of_the_residual() -> None:
    matrix = MATRICES["fast"]
    right = torch.linalg.svd(matrix).Vh[:8].mT
    missed = []
    for noise in (1e-3, 1e-5):
        basis = torch.linalg.qr(right + noise * gaussian(60, 8, seed=1)).Q
        missed.append(certify(Dense(matrix), basis, 4).missed / torch.linalg.matrix_norm(matrix).item() ** 2)
    assert missed[0] < 1e-2
    assert missed[1] < 1e-3 * missed[0]


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("name", ["slow", "flat", "tied"])
def test_probes_bound_what_the_vectors_leave_and_hardly_more(name: str, squares: bool) -> None:
    matrix = MATRICES[name]
    gram = matrix.mT @ matrix
    for seed in range(20):
        basis = torch.linalg.qr(gaussian(matrix.shape[1], 3, seed=seed)).Q
        norm = torch.linalg.matrix_norm(matrix - matrix @ basis @ basis.mT, ord=2).item()
        if squares:
            bound, ritz = probe_outside(lambda x: x @ gram, basis, probes=8, steps=8, seed=seed)
        else:
            bound, ritz = bound_outside(Dense(matrix), basis, steps=8, seed=seed)
        # What is found is below the norm: it is no bound, which is why there are probabilities.
        assert ritz <= norm * (1 + 1e-12) and norm <= bound * (1 + 1e-12) and bound <= 1.35 * norm


def test_fewer_probes_and_rarer_failures_need_a_wider_bound() -> None:
    matrix, basis = Dense(MATRICES["slow"]), torch.zeros(60, 0, dtype=torch.float64)
    bounds = [
        bound_outside(matrix, basis, probes=r, failure=f, steps=4)[0] for r, f in ((8, 1e-5), (8, 1e-20), (1, 1e-20))
    ]
    assert bounds == sorted(bounds) and bounds[0] < bounds[1] < bounds[2]


def test_failures_are_as_rare_as_stated() -> None:
    matrix, basis = Dense(torch.diag(torch.tensor([1.0, 0.5, 0.2]).double())), torch.zeros(3, 0, dtype=torch.float64)
    bounds = [bound_outside(matrix, basis, probes=1, steps=2, failure=0.2, seed=seed)[0] for seed in range(200)]
    # 40 of 200 are stated: fewer would be chance, and none a bound that is wider than it has to be.
    assert 20 < sum(bound < 1 for bound in bounds) < 60


def test_what_is_outside_counts() -> None:
    # The vectors are exact and not the leading ones, which only what is outside of them says.
    matrix = torch.diag(torch.arange(60, 0, -1.0).double())
    second = torch.eye(60, dtype=torch.float64)[:, 1:5]
    bounds = certify(Dense(matrix), second, 3)
    _holds(bounds, matrix)
    assert bounds.kept[1] >= 60**2 + 59**2 + 58**2
    assert (
        bounds_of(torch.arange(59.0, 55, -1), torch.zeros(4), 3, outside=0.0, rounding=0.0).kept[1]
        < 60**2 + 59**2 + 58**2
    )


def test_a_whole_basis_leaves_nothing_outside() -> None:
    assert bound_outside(Dense(MATRICES["slow"]), torch.eye(60, dtype=torch.float64)) == (0.0, 0.0)
    zero = certify(Dense(torch.zeros(30, 20).double()), torch.eye(20, dtype=torch.float64)[:, :3], 2)
    assert max(*zero.kept, *zero.following) < 1e-150


def test_a_residual_that_is_rounding_ends_an_iteration_soon() -> None:
    target = gaussian(300, 4) @ gaussian(4, 200, seed=1)
    rest = 1e-11 * gaussian(300, 200, seed=2)
    residual = Residual(Dense(target + rest), gaussian(300, 4), gaussian(4, 200, seed=1))
    asked: list[int] = []

    class Counted(MatrixFree):
        def gram_images(self, x: Tensor) -> Tensor:
            asked.append(len(x[0]))
            return residual.gram_images(x)

    counted = Counted(
        lambda x: residual.images(x[None])[0], (300, 200), lambda y: residual.transpose_images(y[None])[0]
    )
    norm = float(torch.linalg.matrix_norm(target, ord=2))
    (largest, *_), _ = leading(counted, 1, target, parts=2 * norm)
    assert float(largest / torch.linalg.matrix_norm(rest, ord=2)) == pytest.approx(1, abs=0.05)
    # Without a word of the parts it takes 20.
    assert len(asked) < 12
