from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.gram import gram_svd
from eckart.linalg.svd import balance, factor_singular_values, singular_values, truncated_svd

pytestmark = pytest.mark.usefixtures("one_thread")

Solver = Callable[[Tensor, int], tuple[Tensor, Tensor, Tensor]]
SHAPES = [(12, 7), (7, 12), (9, 9), (1, 6), (6, 1), (1, 1), (3000, 5), (5, 3000), (2, 3, 8, 5), (4, 5, 8)]
DTYPES = [(torch.float64, 1e-10), (torch.float32, 2e-5)]


def assert_orthonormal(columns: Tensor, tolerance: float) -> None:
    gram = columns.mT @ columns
    assert (gram - torch.eye(gram.shape[-1], dtype=gram.dtype)).abs().max() < tolerance


@pytest.mark.parametrize("solver", [truncated_svd, gram_svd])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_triplets_agree_with_lapack(
    solver: Solver, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    matrix = gaussian(*shape, dtype=dtype)
    reference_u, reference_s, reference_vh = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    for rank in {1, min(3, *shape[-2:]), min(shape[-2:])}:
        u, s, vh = solver(matrix, rank)
        assert u.dtype == s.dtype == vh.dtype == dtype
        assert u.shape == (*shape[:-1], rank)
        assert s.shape == (*shape[:-2], rank)
        assert vh.shape == (*shape[:-2], rank, shape[-1])
        scale = reference_s.max()
        np.testing.assert_allclose(s, reference_s[..., :rank], atol=tolerance * scale)
        best = (reference_u[..., :rank] * reference_s[..., None, :rank]) @ reference_vh[..., :rank, :]
        np.testing.assert_allclose((u * s[..., None, :]) @ vh, best, atol=tolerance * scale)
        assert_orthonormal(u, tolerance)
        assert_orthonormal(vh.mT, tolerance)


@pytest.mark.parametrize("solver", [truncated_svd, gram_svd])
@pytest.mark.parametrize("rank", [0, -1, 6])
def test_impossible_rank_is_refused(solver: Solver, rank: int) -> None:
    with pytest.raises(ValueError, match=rf"^The rank must satisfy 1 <= rank <= min\(m, n\) = 5\. Found {rank}\.$"):
        solver(gaussian(2, 9, 5), rank)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
@pytest.mark.parametrize("spectrum", [[0.0], [3.0, 2.0], [1.0, 1.0, 1.0]])
def test_gram_svd_of_a_deficient_matrix_is_finite_and_orthonormal(
    shape: tuple[int, int], spectrum: list[float]
) -> None:
    matrix = with_spectrum(*shape, spectrum)
    u, s, vh = gram_svd(matrix, 5)
    np.testing.assert_allclose(s, spectrum + [0.0] * (5 - len(spectrum)), atol=1e-14)
    assert_orthonormal(u, 1e-13)
    assert_orthonormal(vh.mT, 1e-13)
    np.testing.assert_allclose((u * s) @ vh, matrix, atol=1e-13)


def test_gram_svd_holds_its_stated_accuracy() -> None:
    spectrum = np.logspace(0, -7, 8)
    _, s, _ = gram_svd(with_spectrum(200, 8, spectrum), 8)
    assert np.all(np.abs(s.numpy() - spectrum) <= 100 * np.finfo(float).eps / spectrum)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_spectrum_agrees_with_lapack(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    matrix = gaussian(*shape, dtype=dtype)
    reference = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    found = singular_values(matrix)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, reference, atol=tolerance * reference.max())


@pytest.mark.parametrize("transposed", [False, True])
def test_spectrum_of_a_long_matrix_keeps_small_values(transposed: bool) -> None:
    spectrum = np.logspace(0, -13, 12)
    matrix = with_spectrum(5000, 12, spectrum)
    found = singular_values(matrix.mT if transposed else matrix)
    np.testing.assert_allclose(found, spectrum, atol=5e-15)
    assert abs(float(found[-2]) / spectrum[-2] - 1) < 0.05


@settings(max_examples=60, deadline=None)
@given(m=st.integers(1, 9), n=st.integers(1, 9), k=st.integers(1, 12), seed=st.integers(0, 99))
def test_factor_spectrum_is_that_of_the_product(m: int, n: int, k: int, seed: int) -> None:
    left, right = gaussian(2, m, k, seed=seed), gaussian(2, k, n, seed=seed + 1)
    found = factor_singular_values(left, right)
    reference = np.linalg.svd((left @ right).numpy(), compute_uv=False)
    assert found.shape == (2, min(m, n, k))
    np.testing.assert_allclose(found, reference[..., : min(m, n, k)], atol=1e-12)


def test_factor_spectrum_of_long_factors_needs_no_product() -> None:
    left, right = gaussian(10**6, 2), gaussian(2, 10**6, seed=1)
    reference = np.sqrt(np.linalg.eigvals(((left.mT @ left) @ (right @ right.mT)).numpy()).real)
    np.testing.assert_allclose(factor_singular_values(left, right), sorted(reference, reverse=True), rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(m=st.integers(1, 8), n=st.integers(1, 8), k=st.integers(1, 10), seed=st.integers(0, 99))
def test_balanced_factors_share_the_singular_values_of_their_product(m: int, n: int, k: int, seed: int) -> None:
    left, right = 1e3 * gaussian(2, m, k, seed=seed), 1e-2 * gaussian(2, k, n, seed=seed + 1)
    product = left @ right
    balanced_left, balanced_right = balance(left, right)
    assert balanced_left.shape == left.shape
    assert balanced_right.shape == right.shape
    scale = float(torch.linalg.matrix_norm(product).max())
    np.testing.assert_allclose(balanced_left @ balanced_right, product, atol=1e-12 * scale)
    values = torch.nn.functional.pad(factor_singular_values(left, right), (0, k))[..., :k]
    for gram in (balanced_left.mT @ balanced_left, balanced_right @ balanced_right.mT):
        np.testing.assert_allclose(gram, torch.diag_embed(values), atol=1e-12 * scale)


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (2, 20, 6), (2, 6, 20)])
def test_gram_svd_decomposes_the_smaller_gram_matrix(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    decomposed: list[tuple[int, ...]] = []
    eigh = torch.linalg.eigh

    def watched(gram: Tensor) -> Any:
        decomposed.append(tuple(gram.shape[-2:]))
        return eigh(gram)

    monkeypatch.setattr(torch.linalg, "eigh", watched)
    gram_svd(gaussian(*shape), 3)
    assert set(decomposed) == {(6, 6)}


def test_spectrum_of_a_long_matrix_is_reduced_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    qr = torch.linalg.qr

    def watched(matrix: Tensor, mode: str = "reduced") -> Any:
        rows.append(matrix.shape[-2])
        return qr(matrix, mode=mode)

    monkeypatch.setattr(torch.linalg, "qr", watched)
    long = gaussian(5000, 12)
    np.testing.assert_allclose(singular_values(long), np.linalg.svd(long.numpy(), compute_uv=False), rtol=1e-12)
    assert rows == [1024, *[1036] * 3, 916]
    rows.clear()
    singular_values(gaussian(23, 12))
    assert rows == []
    singular_values(gaussian(24, 12))
    assert rows == [24]
