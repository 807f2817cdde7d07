"""Spectra and residuals by a Gram matrix are those of LAPACK."""

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg import reference, tall_norms
from eckart.linalg.norms import residual_norms
from eckart.linalg.operators import Dense
from eckart.linalg.reference import Reference
from eckart.linalg.tall_norms import TallNorms

pytestmark = pytest.mark.usefixtures("one_thread")

SLOW = 1 / np.arange(1.0, 31)
# A third of the singular values is below what a Gram matrix holds.
LONG = np.r_[np.linspace(1, 0.02, 20), np.logspace(-3.3, -12, 10)]


@pytest.fixture(autouse=True)
def _paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tall_norms, "_WORK", 0)


@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
@pytest.mark.parametrize("spectrum", [SLOW, LONG], ids=["slow", "long"])
@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_spectrum(shape: tuple[int, int], spectrum: np.ndarray, scale: float) -> None:
    found = TallNorms.of(with_spectrum(*shape, spectrum) * scale)
    assert found is not None
    np.testing.assert_allclose(found.spectrum / scale, spectrum, rtol=0, atol=2e-13)
    # Those that a Gram matrix loses are as accurate as those of LAPACK.
    np.testing.assert_allclose(found.spectrum[-10:] / scale, spectrum[-10:], rtol=0, atol=5e-15)


@pytest.mark.parametrize(
    "matrix",
    [with_spectrum(200, 30, np.logspace(0, -8, 30)), 1e-160 * gaussian(200, 30), 1e160 * gaussian(200, 30)],
    ids=["steep", "tiny", "huge"],
)
def test_matrices_that_a_gram_matrix_tells_too_little_of(matrix: Tensor) -> None:
    assert TallNorms.of(matrix) is None


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_residuals(shape: tuple[int, int]) -> None:
    matrix = with_spectrum(*shape, SLOW)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    known = TallNorms.of(matrix)
    assert known is not None
    for left, right in [(u[:, :5] * s[:5], vh[:5]), (gaussian(shape[0], 3), gaussian(3, shape[1], seed=1))]:
        found = known.residual(left, right)
        assert found is not None
        np.testing.assert_allclose(found, residual_norms(matrix, left, right), rtol=1e-12)
    # Small residuals cancel.
    assert known.residual(u * s, vh) is None
    assert known.residual(u * torch.nan, vh) is None
    peak = with_spectrum(*shape, np.r_[1.0, np.full(20, 5e-3)])
    u, s, vh = torch.linalg.svd(peak, full_matrices=False)
    own = TallNorms(peak, peak.mT @ peak if shape[0] > shape[1] else peak @ peak.mT, s)
    assert own.residual(u[:, :1] * s[:1], vh[:1]) is None


def test_reference_measures_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = torch.stack([with_spectrum(200, 30, SLOW), with_spectrum(200, 30, np.logspace(0, -8, 30))])
    factors = gaussian(2, 200, 3), gaussian(2, 3, 30, seed=1) / 10
    found = Reference(Dense(targets), [3, 3])
    assert [known is None for known in found._tall] == [False, True]
    monkeypatch.setattr(tall_norms, "_WORK", 10**9)
    expected = Reference(Dense(targets), [3, 3])
    assert not any(expected._tall)
    assert found.spectrum is not None and expected.spectrum is not None
    np.testing.assert_allclose(found.spectrum, expected.spectrum, rtol=0, atol=2e-13)
    measured: list[int] = []

    def watched(target: Tensor, left: Tensor, right: Tensor, *, tolerance: float) -> tuple[Tensor, Tensor]:
        measured.append(len(target))
        return residual_norms(target, left, right, tolerance=tolerance)

    monkeypatch.setattr(reference, "residual_norms", watched)
    errors = found.errors(*factors)
    assert measured == [200]
    for name, values in expected.errors(*factors).items():
        np.testing.assert_allclose(errors[name], values, rtol=1e-11, atol=1e-12)
    found.to(torch.device("cpu"))
    assert torch.equal(found.errors(*factors)["excess_2norm"], errors["excess_2norm"])
