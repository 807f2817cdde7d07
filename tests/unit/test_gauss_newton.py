"""Gauss–Newton by variable projection, started by variational Bayes."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import eckart
from eckart.data.incomplete import conditioned, mask
from eckart.linalg.entries import Entries
from eckart.optim.fit import Fit, fit
from eckart.optim.gauss_newton import GaussNewton
from eckart.optim.lists import Lists
from eckart.optim.objectives import ObservedEntries
from eckart.optim.peeling import Core
from eckart.optim.posterior import Posterior, posterior_rows
from eckart.optim.solver import ALS, stationarity
from eckart.optim.variable_projection import Projected

ROWS, COLS, RANK = 40, 30, 2


def problem(seed: int, *, oversampling: float = 1.6, noise: float = 0.0) -> tuple[Tensor, Entries]:
    target = conditioned(ROWS, COLS, RANK, 10.0, noise, seed)
    clean = conditioned(ROWS, COLS, RANK, 10.0, 0.0, seed)
    return clean, Entries.of_matrix(target, mask(ROWS, COLS, RANK, oversampling, "uniform", seed))


def begin(stack: int, width: int = RANK) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(stack, ROWS, width, generator=generator, dtype=torch.float64)
    return left / 10, torch.randn(stack, width, COLS, generator=generator, dtype=torch.float64) / 10


def trained(entries: Entries, solver: Any = GaussNewton, **options: Any) -> Fit:
    return fit(ObservedEntries([entries]), *begin(1), solver, tolerance=1e-12, **options)


def error(found: Fit, clean: Tensor) -> float:
    return float(torch.linalg.matrix_norm(found.left[0] @ found.right[0] - clean) / torch.linalg.matrix_norm(clean))


def lists_of(entries: Entries) -> Lists:
    return Lists.of(entries.row.numpy(), entries.col.numpy(), entries.value.numpy(), entries.shape)


def test_it_recovers_where_alternating_least_squares_does_not() -> None:
    clean, entries = problem(0)
    found = trained(entries)
    assert error(found, clean) < 1e-7
    assert found.converged.all()
    assert found.steps < 400
    assert error(trained(entries, ALS, max_steps=60), clean) > 1e-2


@pytest.mark.parametrize("seed", [0, 1])
def test_with_noise_it_comes_near_the_oracle_and_is_certified(seed: int) -> None:
    clean, entries = problem(seed, oversampling=4.0, noise=0.1)
    found = trained(entries)
    assert found.converged.all()
    # Least squares on the tangent space of the true matrix.
    left, _, right = torch.linalg.svd(clean)
    left, right = left[:, :RANK], right[:RANK]
    dense = torch.zeros(len(entries), ROWS * RANK + COLS * RANK, dtype=torch.float64)
    for place, (i, j) in enumerate(zip(entries.row.tolist(), entries.col.tolist(), strict=True)):
        dense[place, RANK * i : RANK * (i + 1)] = right[:, j]
        dense[place, RANK * (ROWS + j) : RANK * (ROWS + j + 1)] = left[i]
    change = torch.linalg.pinv(dense) @ (entries.value - clean[entries.row, entries.col])
    first, second = change[: ROWS * RANK].view(ROWS, RANK), change[ROWS * RANK :].view(COLS, RANK)
    oracle = float(torch.linalg.matrix_norm(first @ right + left @ second.T) / torch.linalg.matrix_norm(clean))
    assert error(found, clean) <= 1.1 * oracle


def test_what_no_matrix_of_the_rank_fits_ends_bounded_and_without_a_certificate() -> None:
    _, entries = problem(0, oversampling=1.2)
    noise = torch.randn(len(entries), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = trained(Entries(entries.row, entries.col, noise, entries.shape))
    typical = float(noise.norm()) * (ROWS * COLS / len(entries)) ** 0.5
    assert float(torch.linalg.matrix_norm(found.left[0] @ found.right[0])) < typical
    assert not found.converged.any()
    assert found.reasons[0].startswith("at rest: the solver has nothing further to try; the gradient in the scaled ")


def test_the_certificate_waits_while_starts_are_left() -> None:
    _, entries = problem(0, oversampling=4.0, noise=0.1)
    solver = GaussNewton(ObservedEntries([entries]), *begin(1), tolerance=1e-12)
    waited = 0
    while solver.active.any():
        waited += bool(stationarity(solver.objective, solver.left, solver.right) <= 1e-12)
        assert not solver.at_rest().any()
        solver.step()
    # The first start came to its optimum, and the second confirmed it.
    assert waited > 0
    assert solver.at_rest().all()


def test_a_member_has_the_bits_that_it_has_alone_and_zeros_beyond_its_rank() -> None:
    members = [problem(seed)[1] for seed in (0, 1)]
    left, right = begin(2, RANK + 1)
    left[0, :, RANK:], right[0, RANK:] = 0, 0
    run = partial(fit, solver=GaussNewton, tolerance=1e-12, max_steps=60)
    whole = run(ObservedEntries(members), left, right)
    alone = run(ObservedEntries(members[:1]), left[:1], right[:1])
    assert torch.equal(whole.left[0], alone.left[0])
    assert torch.equal(whole.right[0], alone.right[0])
    assert (whole.left[0, :, RANK:] == 0).all()
    assert (whole.right[0, RANK:] == 0).all()


@pytest.mark.parametrize("steps", [0, 30, 75])
def test_it_resumes_from_its_state(steps: int) -> None:
    _, entries = problem(0, oversampling=2.0, noise=0.2)
    objective = ObservedEntries([entries])
    first = GaussNewton(objective, *begin(1), tolerance=1e-12)
    for _ in range(steps):
        first.step()
    second = GaussNewton(objective, first.left.clone(), first.right.clone(), tolerance=1e-12)
    second.load_state_dict(first.state_dict())
    for _ in range(40):
        assert torch.equal(first.step(), second.step())
    assert torch.equal(first.left, second.left)


def test_a_restart_with_more_entries_goes_on_from_the_factors() -> None:
    clean, entries = problem(0, oversampling=2.0)
    withheld = torch.zeros(len(entries), dtype=torch.bool)
    withheld[::20] = True
    objective = ObservedEntries([entries], [withheld])
    solver = GaussNewton(objective, *begin(1), tolerance=1e-12)
    taken = []
    for _ in range(2):
        taken.append(0)
        while solver.active.any():
            solver.step()
            taken[-1] += 1
        objective.release(torch.tensor([True]))
        solver.restart(torch.tensor([True]))
        solver.active[:] = True
    assert taken[1] <= 8 < taken[0] / 2
    assert float((solver.left[0] @ solver.right[0] - clean).norm()) < 1e-7


def test_derivatives_are_those_of_the_projected_residual() -> None:
    _, entries = problem(0, oversampling=2.0, noise=0.3)
    lists, generator = lists_of(entries), np.random.default_rng(0)
    point = Projected.at(lists, generator.standard_normal((COLS, RANK)))
    change, other = generator.standard_normal((COLS, RANK)), generator.standard_normal(len(entries))
    image = point.forward(lists, change)
    assert (image * other).sum() == pytest.approx((change * point.adjoint(lists, other)).sum())
    ahead, behind = (Projected.at(lists, point.right + sign * 1e-5 * change).cost for sign in (1, -1))
    assert (ahead - behind) / 4e-5 == pytest.approx((point.gradient(lists) * change).sum(), rel=1e-6)


def test_the_posterior_of_a_row_is_that_of_a_linear_model() -> None:
    generator = np.random.default_rng(0)
    mean, values = generator.standard_normal((4, 3)), generator.standard_normal(4)
    root = generator.standard_normal((4, 3, 3))
    covariance, precision, noise = root @ root.swapaxes(1, 2), np.array([1.0, 2.0, 3.0]), 0.5
    out, spread = np.zeros((1, 3)), np.zeros((1, 3, 3))
    side = np.array([0, 4]), np.arange(4), np.arange(4)
    total = posterior_rows(*side, precision, noise, values, mean, covariance, out, spread)
    second = np.einsum("ja,jb->jab", mean, mean) + covariance
    own = np.linalg.inv(np.diag(precision) + second.sum(0) / noise)
    np.testing.assert_allclose(spread[0], own)
    np.testing.assert_allclose(out[0], own @ (mean.T @ values) / noise)
    moments = np.outer(out[0], out[0]) + own
    np.testing.assert_allclose(
        total,
        sum(v**2 - 2 * v * m @ out[0] for v, m in zip(values, mean, strict=True)) + (moments * second.sum(0)).sum(),
    )


def test_the_scale_of_a_posterior_is_shared_evenly() -> None:
    _, entries = problem(0, oversampling=3.0)
    posterior = Posterior.begin(lists_of(entries), np.random.default_rng(0).standard_normal((COLS, RANK)))
    for _ in range(20):
        posterior.update(lists_of(entries), floor=0.01)
    second = posterior.mean.T @ posterior.mean + posterior.covariance.sum(0)
    np.testing.assert_allclose(second / COLS, np.diag(posterior.strength**0.5), atol=1e-9)


def test_starts_must_be_positive() -> None:
    _, entries = problem(0)
    with pytest.raises(ValueError, match=r"^starts must be at least 1. Found 0.$"):
        GaussNewton(ObservedEntries([entries]), *begin(1), starts=0)


def test_rows_that_tell_nothing_are_taken_off_and_follow_from_the_others() -> None:
    clean, entries = problem(3)
    lists = lists_of(entries)
    core = Core.of(lists, RANK)
    counts = [np.diff(side.starts) for side in (core.lists.by_row, core.lists.by_col)]
    assert min(counts[0].min(), counts[1].min()) > RANK
    assert len(core.rows) + len(core.cols) < ROWS + COLS
    left, singular, right = torch.linalg.svd(clean)
    pair = (left[:, :RANK] * singular[:RANK]).numpy(), right[:RANK].T.numpy()
    nothing = np.zeros((ROWS, RANK)), np.zeros((COLS, RANK))
    whole = core.whole(pair[0][core.rows], pair[1][core.cols], *nothing)
    np.testing.assert_allclose(whole[0] @ whole[1].T, clean.numpy(), atol=1e-8)


def test_a_matrix_that_would_be_taken_off_whole_stays() -> None:
    row, col = np.arange(5), np.arange(5)
    core = Core.of(Lists.of(row, col, np.ones(5), (5, 5)), 1)
    assert core.lists.shape == (5, 5)
    assert core.layers == []


@pytest.mark.parametrize("few", [1, 2])
def test_rows_with_fewer_entries_than_the_rank_do_no_harm(few: int) -> None:
    for seed in range(2):
        whole, seen = conditioned(40, 40, 3, 10.0, 0.0, seed), mask(40, 40, 3, 2.2, "uniform", seed)
        for row in (3, 7):
            seen[row] = torch.arange(40) < few
        result = eckart.fit(torch.where(seen, whole, torch.nan), 3, "completion", seed=seed)
        assert result.fields["verdict"] != "recovered"
        assert torch.linalg.matrix_norm(result.approximation() - whole) < 1.2 * torch.linalg.matrix_norm(whole)


def test_small_matrices_without_missing_entries_have_their_truncated_svd() -> None:
    draw = torch.Generator().manual_seed(0)
    for rows, cols, rank in ((3, 3, 1), (2, 3, 1), (5, 4, 2), (8, 8, 2)):
        matrix = torch.randn(rows, cols, generator=draw, dtype=torch.float64) + 0.3
        result = eckart.fit(matrix, rank, "completion")
        assert abs(result.errors["excess_frobenius"]) < 1e-9


def test_what_looks_like_noise_is_fitted_and_bounded_all_the_same() -> None:
    for seed in range(3):
        seen = torch.rand(30, 30, generator=torch.Generator().manual_seed(seed)) < 0.05
        seen[0, 0] = True
        ones = torch.where(seen, torch.ones(30, 30, dtype=torch.float64), torch.nan)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*degrees of freedom")
            result = eckart.fit(ones, 3, "completion", seed=seed)
        assert result.approximation().nan_to_num(0).abs().max() < 10
        assert result.errors["relative_observed"] < 0.9
