import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.whitened import loss_on_inputs, whitened


def root(matrix: Tensor) -> np.ndarray:
    """Symmetric square root, by scipy."""
    values, vectors = scipy.linalg.eigh(matrix.numpy())
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 12), st.integers(0, 9), st.integers(0, 99))
def test_the_error_on_inputs_is_the_tail_of_singular_values(m: int, n: int, samples: int, dims: int, seed: int) -> None:
    weight, x = gaussian(m, n, seed=seed), gaussian(samples, n, seed=seed + 1)
    moment = x.T @ x / samples
    gradients = gaussian(dims, m, seed=seed + 2)
    metric = None if dims == 0 else gradients.T @ gradients
    best = whitened(weight, moment, metric)
    shaped = root(metric) @ weight.numpy() if metric is not None else weight.numpy()
    squares = scipy.linalg.svdvals(shaped @ root(moment)) ** 2
    tails = [squares[k:].sum() for k in range(len(squares) + 1)]
    np.testing.assert_allclose(best.losses, tails, atol=1e-12 * tails[0])
    for rank in range(1, min(m, n) + 1):
        left, right = best.factors(rank)
        assert (left.shape, right.shape) == ((m, rank), (rank, n))
        # On the inputs themselves, not on their moment.
        errors = x @ (weight - left @ right).T
        lost = (errors**2).sum() if metric is None else ((errors @ gradients.T) ** 2).sum()
        assert float(lost) / samples == pytest.approx(tails[rank], abs=1e-9 * tails[0])


def test_no_other_matrix_of_the_rank_is_better() -> None:
    weight, moment, metric = gaussian(5, 6), with_spectrum(6, 6, [4.0, 2.0, 1.0, 0.5]), gaussian(5, 5, seed=3)
    moment, metric = moment @ moment.T, metric @ metric.T
    best = whitened(weight, moment, metric)
    pair = [factor.requires_grad_() for factor in best.factors(2)]
    loss = (metric @ (weight - pair[0] @ pair[1]) @ moment * (weight - pair[0] @ pair[1])).sum()
    assert loss.item() == pytest.approx(float(best.losses[2]))
    for gradient in torch.autograd.grad(loss, pair):
        np.testing.assert_allclose(gradient, 0, atol=1e-10)


def test_inputs_that_never_vary_in_a_direction_leave_the_weight_there_as_near_as_can_be() -> None:
    weight, basis = gaussian(4, 6), with_spectrum(6, 6, [1.0, 1.0, 1.0])
    best = whitened(weight, basis @ basis.T)
    left, right = best.factors(2)
    # All best ones for the inputs have this column space, so the nearest of them is the projection of the weight.
    u = scipy.linalg.svd((weight @ basis).numpy())[0][:, :2]
    np.testing.assert_allclose(left @ right, u @ u.T @ weight.numpy(), atol=1e-12)
    # The inverse of C^½ on its range, and zero elsewhere, is as good on these inputs and farther from the weight.
    pseudo = u @ u.T @ (weight @ basis @ basis.T).numpy()
    assert np.linalg.norm(weight - left @ right) < np.linalg.norm(weight.numpy() - pseudo) - 0.1


def test_further_directions_are_the_best_ones_off_the_inputs() -> None:
    weight, basis = gaussian(4, 6), with_spectrum(6, 6, [1.0])
    left, right = whitened(weight, basis @ basis.T).factors(3)
    u = scipy.linalg.svd((weight @ basis).numpy())[0][:, :1]
    rest = weight.numpy() - u @ u.T @ weight.numpy()
    assert np.linalg.norm(weight - left @ right) == pytest.approx(np.sqrt((scipy.linalg.svdvals(rest)[2:] ** 2).sum()))
    full = whitened(weight, torch.zeros(6, 6)).factors(4)
    np.testing.assert_allclose(full[0] @ full[1], weight, atol=1e-12)


def test_fewer_samples_than_inputs() -> None:
    weight, x = gaussian(30, 40), gaussian(7, 40, seed=1)
    best = whitened(weight, x.T @ x)
    assert float(best.losses[7]) == 0.0
    left, right = best.factors(7)
    np.testing.assert_allclose(x @ (left @ right).T, x @ weight.T, atol=1e-10)


def test_without_moments_it_is_the_truncated_svd() -> None:
    weight = gaussian(5, 3)
    left, right = whitened(weight).factors(2)
    u, s, vh = scipy.linalg.svd(weight.numpy(), full_matrices=False)
    np.testing.assert_allclose(left @ right, (u[:, :2] * s[:2]) @ vh[:2], atol=1e-12)
    np.testing.assert_allclose(left.T @ left, right @ right.T, atol=1e-12)


def test_a_batch_and_a_diagonal_metric() -> None:
    weight, moment, shares = gaussian(3, 5, 4), gaussian(3, 4, 4, seed=1), gaussian(3, 5, seed=2).abs()
    shares[:, 1] = 0
    moment = moment @ moment.mT
    batch = whitened(weight, moment, shares)
    for place in range(3):
        one = whitened(weight[place], moment[place], torch.diag(shares[place]))
        np.testing.assert_allclose(batch.losses[place], one.losses, atol=1e-10)
        left, right = (factor[place] for factor in batch.factors(2))
        single = one.factors(2)
        np.testing.assert_allclose(left @ right, single[0] @ single[1], atol=1e-9)
        # A row that nothing is said of is fitted by the rest.
        np.testing.assert_allclose((weight[place, 1] - left[1] @ right) @ right.T, 0, atol=1e-10)
    lost = loss_on_inputs(weight - torch.matmul(*batch.factors(2)), moment, shares)
    np.testing.assert_allclose(lost, batch.losses[:, 2], atol=1e-10)


@pytest.mark.parametrize("rank", [0, 4])
def test_impossible_rank_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=rf"^The rank must satisfy 1 <= rank <= min\(m, n\) = 3\. Found {rank}\.$"):
        whitened(gaussian(5, 3)).factors(rank)
