import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian
from torch import Tensor

from eckart.linalg.optimality import excess, optimum, relative_errors
from eckart.linalg.svd import truncated_svd

SIDES = st.integers(1, 12)
SEEDS = st.integers(0, 999)


def orthogonal(side: int, seed: int) -> Tensor:
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).standard_normal((side, side)))[0])


def by_numpy(target: Tensor, left: Tensor, right: Tensor) -> list[Tensor]:
    a, w = target.double().numpy(), left.double().numpy() @ right.double().numpy()
    return [
        torch.as_tensor(np.linalg.norm(a - w, order, (-2, -1)) / np.linalg.norm(a, order, (-2, -1)))
        for order in (2, "fro")
    ]


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (9, 9), (1, 7), (7, 1), (1, 1), (2, 3, 8, 5), (1200, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relative_errors_agree_with_numpy(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    *batch, m, n = shape
    target, left, right = (
        part.to(dtype) for part in (gaussian(*shape), gaussian(*batch, m, 3), gaussian(*batch, 3, n))
    )
    two_norm, frobenius = relative_errors(target, left, right)
    for found, reference in zip((two_norm, frobenius), by_numpy(target, left, right), strict=True):
        assert found.dtype == torch.float64
        assert found.shape == tuple(batch)
        np.testing.assert_allclose(found, reference, rtol=1e-10)


@settings(max_examples=80, deadline=None)
@given(m=SIDES, n=SIDES, data=st.data(), seed=SEEDS)
def test_no_factors_beat_the_optimum_and_the_truncated_svd_attains_it(
    m: int, n: int, data: st.DataObject, seed: int
) -> None:
    rank = data.draw(st.integers(1, min(m, n)))
    target = gaussian(m, n, seed=seed)
    u, s, vh = truncated_svd(target, rank)
    noise = data.draw(st.sampled_from([1e-8, 1e-3, 1.0]))
    left, right = u * s + noise * gaussian(m, rank, seed=seed + 1), vh + noise * gaussian(rank, n, seed=seed + 2)
    assert all(value >= -1e-13 for value in excess(target, left, right, rank))
    assert all(abs(value) < 1e-13 for value in excess(target, u * s, vh, rank))


@settings(max_examples=50, deadline=None)
@given(m=SIDES, n=SIDES, k=SIDES, seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_errors_do_not_depend_on_units_or_on_orthonormal_coordinates(
    m: int, n: int, k: int, seed: int, scale: float
) -> None:
    target, left, right = gaussian(m, n, seed=seed), gaussian(m, k, seed=1), gaussian(k, n, seed=2)
    p, q = orthogonal(m, seed), orthogonal(n, seed + 1)
    moved = relative_errors(scale * p @ target @ q, scale * p @ left, right @ q)
    for found, reference in zip(moved, relative_errors(target, left, right), strict=True):
        assert float(found) == pytest.approx(float(reference), rel=1e-10)


def test_optimum_follows_from_the_spectrum_for_each_member_of_a_stack() -> None:
    spectrum = torch.tensor([[4.0, 3.0, 0.0], [5.0, 4.0, 3.0], [2.0, 2.0, 2.0]])
    two_norm, frobenius = optimum(spectrum, torch.tensor([1, 2, 3]))
    np.testing.assert_allclose(two_norm, [3 / 4, 3 / 5, 0.0], rtol=1e-15)
    np.testing.assert_allclose(frobenius, [3 / 5, 3 / 50**0.5, 0.0], rtol=1e-15)
    np.testing.assert_allclose(optimum(spectrum, 2)[0], [0.0, 3 / 5, 1.0], rtol=1e-15)
    np.testing.assert_allclose(optimum(spectrum[1], torch.tensor([1, 2]))[0], [4 / 5, 3 / 5], rtol=1e-15)


def test_optimum_keeps_a_tail_far_below_roundoff_of_the_whole() -> None:
    _, frobenius = optimum(torch.tensor([1.0, 1e-12, 1e-12], dtype=torch.float64), 1)
    assert float(frobenius) == pytest.approx(2**0.5 * 1e-12, rel=1e-12)


def test_documented_diagonal() -> None:
    target = torch.diag(torch.arange(50.0))
    u, s, vh = truncated_svd(target, 20)
    assert float(relative_errors(target, u * s, vh)[0]) == pytest.approx(29 / 49, rel=1e-6)
    assert float(optimum(torch.arange(49.0, -1, -1), 20)[0]) == pytest.approx(29 / 49, rel=1e-14)


@pytest.mark.parametrize("rank", [0, 4, torch.tensor([1, 4])])
def test_optimum_refuses_an_impossible_rank(rank: int | Tensor) -> None:
    with pytest.raises(ValueError, match=r"The rank must satisfy 1 <= rank <= min\(m, n\) = 3\. Found (0|4)\."):
        optimum(torch.ones(2, 3), rank)


def test_all_zero_target_is_refused() -> None:
    target = torch.stack([torch.eye(3), torch.zeros(3, 3)])
    with pytest.raises(ValueError, match="relative errors are undefined"):
        relative_errors(target, torch.ones(2, 3, 1), torch.ones(2, 1, 3))
    with pytest.raises(ValueError, match="relative errors are undefined"):
        optimum(torch.zeros(3), 1)


def test_trained_parameters_are_measured_without_a_graph() -> None:
    left, right = torch.nn.Parameter(torch.ones(3, 1)), torch.nn.Parameter(torch.ones(1, 3))
    two_norm, frobenius = relative_errors(torch.eye(3), left, right)
    assert not two_norm.requires_grad and not frobenius.requires_grad
    assert float(two_norm) == pytest.approx(2.0)
