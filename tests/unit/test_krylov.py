import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg  # type: ignore[import-untyped, unused-ignore]
import sklearn.utils.extmath  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.choosing_solver import auto_svd
from eckart.linalg.krylov import _split, block_lanczos, randomized_svd
from eckart.linalg.operators import Dense
from eckart.linalg.random import stream
from eckart.linalg.tall_svd import tall_svd

pytestmark = pytest.mark.usefixtures("one_thread")

MATRICES = {
    "slow decay": gaussian(150, 120),
    "wide": gaussian(90, 300),
    "fast decay": with_spectrum(120, 110, np.logspace(0, -20, 110)),
    "repeated": torch.eye(130, dtype=torch.float64),
    "cluster wider than the rank": with_spectrum(120, 120, np.r_[np.ones(11), np.linspace(0.99, 0, 109)]),
    "rank 3": with_spectrum(120, 100, np.array([3.0, 2.0, 1.0])),
    "rank 7": with_spectrum(100, 120, np.arange(7.0, 0, -1)),
    "zero": torch.zeros(100, 120, dtype=torch.float64),
    "one entry": torch.zeros(100, 100, dtype=torch.float64).index_put(
        (torch.tensor(3), torch.tensor(7)), torch.tensor(2.0).double()
    ),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_leading_triplets_agree_with_lapack(name: str, dtype: torch.dtype, tolerance: float) -> None:
    matrix = MATRICES[name].to(dtype)
    u, s, vh = randomized_svd(matrix, 5)
    reference = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    scale = max(reference[0], 1e-300)
    np.testing.assert_allclose(s, reference[:5], atol=tolerance * scale)
    for basis in (u, vh.mT):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(5), atol=1e-13 if dtype == torch.float64 else 1e-5)
    assert torch.linalg.vector_norm(matrix.mT @ u - vh.mT * s, dim=0).max() <= tolerance * scale
    assert torch.linalg.vector_norm(matrix @ vh.mT - u * s, dim=0).max() <= tolerance * scale


def test_small_matrix_is_decomposed_exactly() -> None:
    u, s, vh = randomized_svd(torch.eye(50, dtype=torch.float64), 20)
    np.testing.assert_allclose(s, np.ones(20), atol=1e-14)
    assert torch.linalg.matrix_rank((u * s) @ vh) == 20


def test_slow_decay_agrees_with_arpack_and_beats_a_fixed_number_of_power_iterations() -> None:
    matrix = gaussian(200, 200, seed=3)
    _, s, _ = randomized_svd(matrix, 10)
    arpack = scipy.sparse.linalg.svds(matrix.numpy(), 10, return_singular_vectors=False, random_state=0)
    np.testing.assert_allclose(s, np.sort(arpack)[::-1], rtol=1e-10)
    exact = np.linalg.svd(matrix.numpy(), compute_uv=False)[:10]
    _, sketched, _ = sklearn.utils.extmath.randomized_svd(matrix.numpy(), 10, random_state=0)
    assert np.abs(s.numpy() - exact).max() < 1e-3 * np.abs(sketched - exact).max()


def test_result_repeats_and_members_of_a_batch_do_not_see_each_other() -> None:
    batch = torch.stack([gaussian(90, 80), MATRICES["one entry"][:90, :80], gaussian(90, 80, seed=1)]).reshape(
        3, 1, 90, 80
    )
    first, again = randomized_svd(batch, 4, seed=5), randomized_svd(batch, 4, seed=5)
    alone = randomized_svd(batch[2, 0], 4, seed=5)
    for a, b, c in zip(first, again, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[2, 0], c)
    assert not torch.equal(first[0], randomized_svd(batch, 4, seed=6)[0])


def test_exhausted_iteration_warns_with_the_residual_it_reached() -> None:
    with pytest.warns(RuntimeWarning, match=r"within max_iterations = 2\. Found \d\.\de-\d\d\.$"):
        randomized_svd(gaussian(200, 200), 5, max_iterations=2)


def test_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 <= rank <= min\(m, n\) = 5\. Found 6\."):
        randomized_svd(gaussian(9, 5), 6)


BASIS = torch.linalg.qr(gaussian(60, 12)).Q
BLOCKS = {
    "independent": gaussian(60, 4, seed=1),
    "in the span of the basis": BASIS @ gaussian(12, 4, seed=2),
    "nearly in the span of the basis": BASIS @ gaussian(12, 4, seed=2) + 1e-9 * gaussian(60, 4, seed=3),
    "of rank 2": gaussian(60, 2, seed=1) @ gaussian(2, 4, seed=2),
    "of widely different columns": gaussian(60, 4, seed=1) * torch.logspace(0, -12, 4, dtype=torch.float64),
    "zero": torch.zeros(60, 4, dtype=torch.float64),
    "tiny": 1e-200 * gaussian(60, 4, seed=1),
    "one column in the span": torch.cat([gaussian(60, 3, seed=1), BASIS[:, :1]], dim=1),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("basis", [BASIS, BASIS[:, :0]], ids=["basis", "no basis"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_block_is_split_into_orthonormal_directions(name: str, basis: Tensor, dtype: torch.dtype) -> None:
    block, basis, eps = BLOCKS[name].to(dtype), basis.to(dtype), torch.finfo(dtype).eps
    coefficients, fresh, remainder = _split(block, basis, stream(0, "test"))
    both = torch.cat([basis, fresh], dim=1)
    np.testing.assert_allclose(both.mT @ both, torch.eye(both.shape[1]), atol=20 * eps)
    norm = float(torch.linalg.matrix_norm(block))
    np.testing.assert_allclose(basis @ coefficients + fresh @ remainder, block, atol=20 * eps * norm)


@pytest.mark.parametrize("name", [*MATRICES, "ill-conditioned"])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_triplets_and_residuals_are_true_after_any_number_of_restarts(name: str, steps: int) -> None:
    matrix = MATRICES[name] if name in MATRICES else with_spectrum(120, 110, np.logspace(0, -12, 110))
    seen: list[tuple[Tensor, Tensor]] = []
    calls = 0

    class Counted(Dense):
        def images(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            assert x.shape == (1, 6, matrix.shape[1])
            return super().images(x)

    def converged(s: Tensor, residuals: Tensor) -> bool:
        seen.append((s, residuals))
        return False

    u, s, v, done = block_lanczos(Counted(matrix), 6, stream(0, "test"), converged, steps, like=matrix)
    assert not done
    assert calls == steps
    assert u.shape[1] == v.shape[1] == len(s) <= 8 * 6
    if steps <= 8:
        assert len(s) == 6 * steps
    for basis in (u, v):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(len(s)), atol=1e-13)
    scale = max(float(torch.linalg.matrix_norm(matrix)), 1e-300)
    np.testing.assert_allclose(matrix @ v, u * s, atol=1e-13 * scale)
    expected = torch.linalg.vector_norm(matrix.mT @ u - v * s, dim=0)
    np.testing.assert_allclose(seen[-1][1], expected, atol=1e-13 * scale)
    assert torch.equal(seen[-1][0], s)


def test_restarts_keep_the_leading_triplets() -> None:
    matrix = gaussian(150, 120, seed=7)
    exact = np.linalg.svd(matrix.numpy(), compute_uv=False)
    errors: list[float] = []

    def converged(s: Tensor, residuals: Tensor) -> bool:
        errors.append(abs(float(s[0]) - exact[0]) / exact[0])
        return False

    _, s, _, _ = block_lanczos(Dense(matrix), 6, stream(0, "test"), converged, 60, like=matrix)
    np.testing.assert_allclose(s[:6], exact[:6], rtol=1e-12)
    assert all(after <= before + 1e-14 for before, after in itertools.pairwise(errors))


def test_tolerance_is_at_least_roundoff() -> None:
    # Without a floor the iteration would run to its limit and warn.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        randomized_svd(gaussian(120, 110).float(), 3, tolerance=1e-15)
        randomized_svd(gaussian(120, 110), 3, tolerance=0.0)


def test_tolerance_decides_how_accurate_the_triplets_are() -> None:
    matrix = gaussian(200, 180, seed=2)
    for tolerance in (1e-2, 1e-6):
        u, s, vh = randomized_svd(matrix, 4, tolerance=tolerance)
        residual = float(torch.linalg.vector_norm(matrix.mT @ u - vh.mT * s, dim=0).max() / s[0])
        assert 1e-4 * tolerance < residual <= tolerance


def test_warning_states_the_residual_of_what_is_returned() -> None:
    matrix = gaussian(200, 200)
    with pytest.warns(RuntimeWarning) as caught:
        u, s, vh = randomized_svd(matrix, 5, max_iterations=3)
    residual = float(torch.linalg.vector_norm(matrix.mT @ u - vh.mT * s, dim=0).max() / s[0])
    assert f"Found {residual:.1e}." in str(caught[0].message)


@pytest.mark.parametrize("solver", [randomized_svd, auto_svd])
@pytest.mark.parametrize("scale", [1e-140, 1e-100, 1e100, 1e140])
def test_the_scale_of_a_matrix_whose_squares_are_no_numbers_does_not_count(solver: Any, scale: float) -> None:
    matrix = with_spectrum(150, 120, 1 / np.arange(1.0, 121))
    found = solver(scale * matrix, 3)
    np.testing.assert_allclose(found[1] / scale, [1, 1 / 2, 1 / 3], rtol=1e-9)


@pytest.mark.parametrize("least", [0.5, 1e-3, 1e-9, 0.0])
def test_few_long_columns_are_decomposed_whatever_their_condition(least: float) -> None:
    matrix = with_spectrum(200, 6, np.array([1.0, 0.9, 0.8, 0.7, 0.6, least]))
    u, s, vh = tall_svd(matrix)
    np.testing.assert_allclose(s, np.linalg.svd(matrix.numpy(), compute_uv=False), atol=1e-14)
    np.testing.assert_allclose((u * s) @ vh, matrix, atol=1e-14)
    for basis in (u, vh.mT):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(6), atol=1e-14)
