"""The Gram matrix of integers, its eigenpairs, and orthonormal images by Cholesky."""

from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg import gram as module
from eckart.linalg.gram import gram_matrix, gram_svd, leading_eigenpairs, restricted_svd
from eckart.linalg.row_threads import over_rows

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = 2300
GENERATOR = torch.Generator().manual_seed(0)
BYTES = torch.randint(0, 256, (ROWS, 9), generator=GENERATOR, dtype=torch.uint8)
# Products that float32 could not add without rounding if they were of more rows, or of integers further apart.
EXTREME = (255 * (torch.arange(ROWS)[:, None] % torch.arange(1, 10) == 0)).to(torch.uint8)


def spoiled(matrix: Tensor, row: int, value: float) -> Tensor:
    matrix = matrix.clone()
    matrix[row, 3] = value
    return matrix


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SMALL", 4)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("matrix", "exact"),
    [
        (BYTES, ROWS),
        (EXTREME, ROWS),
        (EXTREME.float(), ROWS),
        (255 - EXTREME, ROWS),
        ((BYTES - 128).to(torch.int8), ROWS),
        (BYTES.float(), ROWS),
        (BYTES.double() - 1e6, ROWS),
        (BYTES.long() + 2**23 - 128, ROWS),
        # Numbers that float32 does not have.
        (BYTES.long() + 2**24 + 1, 0),
        (spoiled(BYTES.double(), 2060, 7 + 1e-12), 2048),
        (spoiled(BYTES.double(), 5, 0.5), 1276),
        (spoiled(BYTES.float(), 1500, 300.0), 1276),
        (spoiled(BYTES.float(), 7, 300.0), 0),
        (gaussian(ROWS, 9), 0),
    ],
)
def test_products_of_integers_are_exact(matrix: Tensor, exact: int) -> None:
    sums = module._Sums(matrix)
    for start in range(0, ROWS, 1024):
        sums.add(0, slice(start, min(start + 1024, ROWS)))
    assert sums.shifted[0] == exact
    expected = (matrix.double().mT @ matrix.double()).tril()
    for found in (sums.total(), gram_matrix(matrix)):
        if exact == ROWS:
            integers = matrix.long()
            assert torch.equal(found.tril(), (integers.mT @ integers).double().tril())
        np.testing.assert_allclose(found.tril(), expected, rtol=1e-13, atol=1e-12)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("row", [0, 2000])
def test_numbers_that_are_not_finite_stay_in_their_columns(value: float, row: int) -> None:
    diagonal = gram_matrix(spoiled(BYTES.float(), row, value)).diagonal()
    assert diagonal.isfinite().tolist() == [column != 3 for column in range(9)]


@pytest.mark.usefixtures("large")
def test_workers_share_the_rows_and_give_their_threads_back() -> None:
    others, vectors = gaussian(ROWS, 9, dtype=torch.float32), torch.eye(9).double()[:, :2]
    torch.set_num_threads(1)
    alone = gram_matrix(others), module._images(others, vectors)
    torch.set_num_threads(3)
    try:
        assert module._Sums(others).threads == 3
        integers = BYTES.long()
        assert torch.equal(gram_matrix(BYTES).tril(), (integers.mT @ integers).double().tril())
        for found, expected in zip((gram_matrix(others), module._images(others, vectors)), alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-11)
        seen: list[int] = []

        def broken(worker: int, rows: slice) -> None:
            seen.append(worker)
            raise ValueError(f"row {rows.start}")

        with pytest.raises(ValueError, match=r"^row 0$"):
            over_rows(others, 1000, broken, 8)
        assert sorted(seen) == [0, 1, 2] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_triplets_of_integers_are_in_double_precision() -> None:
    u, s, vh = gram_svd(BYTES[:40], 3)
    assert u.dtype == s.dtype == vh.dtype == torch.float64
    np.testing.assert_allclose(s, np.linalg.svd(BYTES[:40].numpy().astype(float), compute_uv=False)[:3], rtol=1e-13)


SPECTRA = {
    "slow": 1 / np.arange(1.0, 41),
    "tied": np.repeat([3.0, 2.0, 1.0, 0.0], 10),
    "signs": np.linspace(1, -1, 40),
    "rank 1": np.r_[1.0, np.zeros(39)],
}


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("count", [1, 10, 25, 40])
@pytest.mark.parametrize("name", SPECTRA)
def test_eigenpairs(name: str, count: int, scale: float) -> None:
    basis = torch.linalg.qr(gaussian(40, 40)).Q
    matrix = (basis * torch.from_numpy(SPECTRA[name])) @ basis.mT
    # Only the lower triangle is read, in whichever order it is stored.
    lower = (matrix.tril() + gaussian(40, 40).triu(1)) * scale
    for given in (lower, lower.mT.contiguous().mT):
        values, vectors = leading_eigenpairs(given, count, every=True)
        np.testing.assert_allclose(values / scale, SPECTRA[name], atol=2e-14)
        np.testing.assert_allclose(vectors.mT @ vectors, np.eye(count), atol=2e-13)
        np.testing.assert_allclose(matrix @ vectors, vectors * (values[:count] / scale), atol=2e-14)


@pytest.mark.parametrize(
    ("spectrum", "cholesky"), [([5.0, 4.0, 3.0, 2.0], True), ([1.0, 1e-3, 1e-6], True), ([3.0, 2.0], False)]
)
def test_images_are_orthonormal_by_cholesky_where_no_singular_value_is_lost(
    spectrum: list[float], cholesky: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = len(spectrum) + (not cholesky)
    matrix = with_spectrum(5000, 6, spectrum)
    vectors = torch.linalg.svd(matrix, full_matrices=False).Vh[:rank].mT
    reflected = _calls(monkeypatch, torch.linalg, "qr")
    u, s, vh = restricted_svd(matrix, vectors)
    assert len(reflected) == (not cholesky)
    np.testing.assert_allclose(u.mT @ u, np.eye(rank), atol=1e-14)
    np.testing.assert_allclose(s, [*spectrum, *[0.0] * (rank - len(spectrum))], atol=1e-14)
    np.testing.assert_allclose((u * s) @ vh, matrix, atol=1e-14)


@pytest.mark.parametrize(
    ("spectrum", "decomposed"),
    [
        (np.linspace(1, 0.5, 160), False),
        (1 / np.arange(1.0, 161), False),
        (np.repeat(np.linspace(1, 0.1, 20), 8), False),
        # The square loses what is below 1e-8 of the largest, and mixes what is above by little.
        (10.0 ** (-np.arange(160) / 14), True),
        (np.r_[np.ones(50), np.zeros(110)], True),
    ],
    ids=["flat", "slow", "tied", "steep", "rank 50"],
)
def test_many_images_of_good_vectors_are_not_decomposed_again(
    spectrum: np.ndarray, decomposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = with_spectrum(200, 160, spectrum)
    seen = _calls(monkeypatch, torch.linalg, "svd")
    u, s, vh = gram_svd(matrix, 100)
    assert bool(seen) == decomposed
    for basis in (u, vh.mT):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(100), atol=1e-13)
    np.testing.assert_allclose(s, spectrum[:100], atol=1e-7 if decomposed else 1e-13)
    assert bool((s[:-1] >= s[1:]).all())
    optimum = float(np.linalg.norm(spectrum[100:]))
    assert float(torch.linalg.norm(matrix - (u * s) @ vh)) <= max((1 + 1e-10) * optimum, 1e-6)


def _calls(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Notes each call of a function."""
    calls: list[Any] = []
    function = getattr(module, name)

    def noted(*values: Any) -> Any:
        calls.append(values)
        return function(*values)

    monkeypatch.setattr(module, name, noted)
    return calls
