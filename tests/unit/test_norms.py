from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian, with_spectrum
from torch import Tensor

import eckart.linalg.norms
from eckart.linalg.krylov import block_lanczos
from eckart.linalg.norms import residual_norms
from eckart.linalg.svd import truncated_svd

pytestmark = pytest.mark.usefixtures("one_thread")


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


SLOW: dict[str, Tensor] = {
    "gaussian": gaussian(200, 200),
    "equally spaced": with_spectrum(300, 300, 1 - 0.3 * np.linspace(0, 1, 300), seed=2),
}


@pytest.mark.usefixtures("iterated")
@pytest.mark.parametrize("name", SLOW)
def test_iteration_runs_until_the_norm_is_as_accurate_as_asked_and_not_much_longer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, empty = SLOW[name], torch.zeros(len(SLOW[name]), 0, dtype=torch.float64)
    exact, errors = float(np.linalg.norm(target.numpy(), 2)), []

    def watched(
        operator: Any, width: int, generator: Any, converged: Callable[..., bool], most: int, *, like: Tensor
    ) -> Any:
        def watch(s: Tensor, residuals: Tensor) -> bool:
            errors.append(abs(float(s[0]) - exact) / exact)
            return converged(s, residuals)

        return block_lanczos(operator, width, generator, watch, most, like=like)

    monkeypatch.setattr(eckart.linalg.norms, "block_lanczos", watched)
    for tolerance in (1e-2, 1e-3, 1e-5, 1e-8):
        errors.clear()
        found = float(residual_norms(target, empty, empty.mT, tolerance=tolerance)[0])
        # The first estimates are far off: a bound that is 1000 times too lax would accept one of them.
        assert errors[0] > 1e-2
        assert abs(found - exact) <= tolerance * exact
        # The bound is pessimistic, but does not cost more than the digits that it makes sure of.
        assert not [error for error in errors[:-1] if error < 1e-5 * tolerance]


@pytest.mark.usefixtures("iterated")
def test_norm_of_a_batch_of_large_targets_needs_no_factors() -> None:
    target = gaussian(2, 60, 50)
    two_norm, frobenius = residual_norms(target, target[..., :0], target[..., :0, :])
    np.testing.assert_allclose(two_norm, np.linalg.norm(target.numpy(), 2, axis=(-2, -1)), rtol=1e-10)
    np.testing.assert_allclose(frobenius, np.linalg.norm(target.numpy(), axis=(-2, -1)), rtol=1e-10)


@pytest.mark.usefixtures("iterated")
def test_norm_that_does_not_converge_is_said_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(operator: Any, width: int, generator: Any, converged: Any, most: int, *, like: Tensor) -> Any:
        u, s, v, _ = block_lanczos(operator, width, generator, converged, 2, like=like)
        return u, s, v, False

    monkeypatch.setattr(eckart.linalg.norms, "block_lanczos", exhausted)
    target = gaussian(60, 50)
    with pytest.warns(RuntimeWarning, match=r"must converge to 1\.0e-12 within 1000 iterations\."):
        residual_norms(target, target[:, :0], target[:0])
