import numpy as np
import pytest
import scipy.sparse.linalg  # type: ignore[import-untyped, unused-ignore]
import sklearn.utils.extmath  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import eckart.linalg.norms
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.norms import residual_norms
from eckart.linalg.svd import truncated_svd


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(m: int, n: int, spectrum: NDArray[np.float64], seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((side, len(spectrum))))[0] for side in (m, n))
    return torch.from_numpy((u * spectrum) @ v.T)


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


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 30), n=st.integers(1, 30), k=st.integers(0, 6), batch=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_residual_norms_agree_with_dense_algebra(m: int, n: int, k: int, batch: int, seed: int) -> None:
    target, left, right = gaussian(batch, m, n, seed=seed), gaussian(batch, m, k, seed=1), gaussian(batch, k, n, seed=2)
    residual = (target - left @ right).numpy()
    two_norm, frobenius = residual_norms(target, left, right)
    np.testing.assert_allclose(two_norm, np.linalg.norm(residual, 2, axis=(-2, -1)), rtol=1e-11)
    np.testing.assert_allclose(frobenius, np.linalg.norm(residual, axis=(-2, -1)), rtol=1e-11)


@pytest.fixture
def iterated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eckart.linalg.norms, "EXACT_SIDE", 0)
    monkeypatch.setattr(eckart.linalg.norms, "CHUNK", 1000)


RESIDUALS = {
    "slow decay": gaussian(150, 90, seed=4),
    "wide": gaussian(60, 150, seed=4),
    "near tie": with_spectrum(120, 100, np.r_[1.0, 1 - 1e-9, 1 - 1e-6, np.linspace(0.9, 0, 97)]),
    "tie wider than the block": with_spectrum(120, 120, np.r_[np.ones(20), np.linspace(0.999, 0, 100)]),
    "close to the edge": with_spectrum(120, 120, 1 - np.linspace(0, 1, 120) ** 2 * 1e-3),
    "identity": torch.eye(100, dtype=torch.float64),
    "rank 1": with_spectrum(100, 100, np.array([2.0])),
}


@pytest.mark.usefixtures("iterated")
@pytest.mark.parametrize("name", RESIDUALS)
def test_iterated_norm_agrees_with_lapack(name: str) -> None:
    residual = RESIDUALS[name]
    left, right = gaussian(residual.shape[0], 4, seed=1), gaussian(4, residual.shape[1], seed=2) / 10
    target = residual + left @ right
    two_norm, frobenius = residual_norms(target, left, right)
    assert float(two_norm) == pytest.approx(np.linalg.norm(residual.numpy(), 2), rel=1e-10)
    assert float(frobenius) == pytest.approx(np.linalg.norm(residual.numpy()), rel=1e-10)
    assert torch.equal(two_norm, residual_norms(target, left, right)[0])


@pytest.mark.parametrize("side", [0, 1024])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-8])
def test_norm_of_a_vanishing_residual_is_not_lost_to_cancellation(
    monkeypatch: pytest.MonkeyPatch, side: int, size: float
) -> None:
    monkeypatch.setattr(eckart.linalg.norms, "EXACT_SIDE", side)
    approximation = with_spectrum(120, 100, np.array([1.0, 0.5, 0.25]))
    left, s, right = truncated_svd(approximation, 3)
    target = (left * s) @ right + size * with_spectrum(120, 100, np.linspace(1, 0.5, 100), seed=1)
    two_norm, frobenius = residual_norms(target, left * s, right)
    assert abs(float(two_norm) - size) < 4e-15
    assert abs(float(frobenius) - size * np.linalg.norm(np.linspace(1, 0.5, 100))) < 4e-15


@pytest.mark.usefixtures("iterated")
def test_exactly_zero_residual_has_norm_zero() -> None:
    left, right = torch.ones(100, 1, dtype=torch.float64), torch.ones(1, 100, dtype=torch.float64)
    two_norm, frobenius = residual_norms(left @ right, left, right)
    assert two_norm == frobenius == 0


@pytest.mark.parametrize("side", [0, 1024])
def test_member_that_is_not_finite_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(eckart.linalg.norms, "EXACT_SIDE", side)
    target, left, right = gaussian(80, 70), gaussian(3, 80, 2), gaussian(3, 2, 70)
    left[1, 0, 0] = torch.nan
    right[2, 0, 0] = torch.inf
    two_norm, frobenius = residual_norms(target, left, right)
    assert two_norm.isfinite().tolist() == frobenius.isfinite().tolist() == [True, False, False]
    assert float(two_norm[0]) == pytest.approx(np.linalg.norm((target - left[0] @ right[0]).numpy(), 2), rel=1e-10)
