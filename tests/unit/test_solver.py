import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian, observed_of, starting_factors, with_spectrum
from numpy.typing import NDArray
from torch import Tensor

import eckart.optim.solver
from eckart.linalg.svd import balance
from eckart.optim.objectives import KnownTarget, ObservedEntries
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import ALS, stationarity

pytestmark = pytest.mark.usefixtures("one_thread")

Matrix = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def closed_form_stationarity(target: Matrix, left: Matrix, right: Matrix) -> float:
    """The gradient in the scaled metric is the residual projected on the columns of left, and on the rows of right."""
    residual = left @ right - target
    columns, rows = scipy.linalg.orth(left), scipy.linalg.orth(right.T)
    parts = np.linalg.norm(columns.T @ residual) ** 2 + np.linalg.norm(residual @ rows) ** 2
    return float(np.sqrt(parts) / np.linalg.norm(target))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7), st.data())
def test_stationarity_is_the_projected_residual(seed: int, rows: int, cols: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(rows, cols)))
    target = torch.from_numpy(rng(seed).standard_normal((1, rows, cols)))
    left, right = starting_factors(target, [rank], seed=seed)
    found = float(stationarity(KnownTarget(target), left, right, damping=0.0))
    assert found == pytest.approx(
        closed_form_stationarity(*(part[0].numpy() for part in (target, left, right))), rel=1e-4
    )


def test_stationarity_is_the_slope_along_the_natural_gradient() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 6, 5)))
    observed = torch.from_numpy(rng(1).random((1, 6, 5)) < 0.7)
    left, right = starting_factors(target, [2])
    objective = ObservedEntries(observed_of(target, observed))
    mask, goal, u, v = (part[0].numpy() for part in (observed, target, left, right))

    def loss(u: Matrix, v: Matrix) -> float:
        return float(0.5 * ((u @ v - goal)[mask] ** 2).sum())

    residual = (u @ v - goal) * mask
    natural = residual @ v.T @ np.linalg.inv(v @ v.T), np.linalg.inv(u.T @ u) @ u.T @ residual
    h = 1e-5
    slope = (loss(u + h * natural[0], v + h * natural[1]) - loss(u - h * natural[0], v - h * natural[1])) / (2 * h)
    found = float(stationarity(objective, left, right, damping=0.0))
    assert found == pytest.approx(math.sqrt(slope) / np.linalg.norm(goal[mask]), rel=1e-7)


def test_stationarity_vanishes_at_the_optimum_and_not_elsewhere() -> None:
    target = rng(0).standard_normal((8, 6))
    u, s, vh = scipy.linalg.svd(target, full_matrices=False)
    left, right = (torch.from_numpy(part)[None] for part in (u[:, :3] * s[:3], vh[:3]))
    objective = KnownTarget(torch.from_numpy(target)[None])
    assert float(stationarity(objective, left, right)) <= 1e-14
    assert float(stationarity(objective, left * 1.001, right)) > 1e-4
    # It does not tell a saddle from the optimum: three other singular vectors.
    assert (
        float(stationarity(objective, torch.from_numpy(u[:, 3:] * s[3:])[None], torch.from_numpy(vh[3:])[None]))
        <= 1e-14
    )


def factors(stack: int, rows: int, rank: int, cols: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(stack, rows, rank, generator=generator, dtype=torch.float64)
    return left, torch.randn(stack, rank, cols, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_als_reaches_the_optimum(condition: float) -> None:
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((size, 8)))[0] for size in (15, 11))
    spectrum = np.concatenate([np.geomspace(1, 1 / condition, 4), np.full(4, 0.3 / condition)])
    target = torch.from_numpy(u * spectrum @ v.T)[None]
    left, right = factors(1, 15, 4, 11)
    solver = ALS(KnownTarget(target), left, right, tolerance=1e-14)
    for _ in range(200):
        solver.step()
    residual = np.linalg.svd((target - left @ right)[0].numpy(), compute_uv=False)
    np.testing.assert_allclose(residual[0], 0.3 / condition, rtol=1e-6)


def test_als_solves_each_row_on_its_observed_entries() -> None:
    rng = np.random.default_rng(1)
    target = torch.from_numpy(rng.standard_normal((1, 7, 6)))
    observed = torch.from_numpy(rng.random((1, 7, 6)) < 0.8)
    _, right = factors(1, 7, 2, 6)
    best = ObservedEntries(observed_of(target, observed)).best_left(right)
    for row in range(7):
        seen = observed[0, row].numpy()
        expected = np.linalg.lstsq(right[0].numpy().T[seen], target[0, row].numpy()[seen], rcond=None)[0]
        np.testing.assert_allclose(best[0, row], expected, rtol=1e-8)


def test_rounding_does_not_reach_columns_beyond_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    # LAPACK keeps zero columns exactly; an SVD by rotations, as on accelerators, need not.
    def rounded(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        left, right = balance(left, right)
        return left + 1e-17, right + 1e-17

    monkeypatch.setattr(eckart.optim.solver, "balance", rounded)
    ranks = [3, 4, 5]
    targets = gaussian(3, 9, 8)
    left, right = starting_factors(targets, ranks)
    solver = ALS(KnownTarget(targets), left, right)
    for _ in range(3):
        solver.step()
    for member, rank in enumerate(ranks):
        for factor in (left[member].mT, right[member]):
            assert (factor[rank:] == 0).all()
            assert (factor[:rank] != 0).any(1).all()


def test_least_squares_leaves_factors_of_equal_singular_values() -> None:
    targets = gaussian(2, 9, 7)
    left, right = starting_factors(targets, [3, 2])
    ALS(KnownTarget(targets), left, right).step()
    np.testing.assert_allclose(left.mT @ left, right @ right.mT, atol=1e-12)


def test_ill_conditioned_target_is_solved_in_single_precision() -> None:
    # Without balanced factors the Gram matrix has the square of the condition, 1e10, and drowns in the damping.
    target = with_spectrum(15, 11, [1.0, 1e-2, 1e-5], seed=3)[None].float()
    left, right = (part.float() for part in starting_factors(target, [3]))
    solver = ALS(KnownTarget(target), left, right)
    for _ in range(20):
        solver.step()
    assert torch.linalg.matrix_norm((left @ right - target).double()) < 1e-6


def test_member_that_is_done_or_not_active_is_not_trained() -> None:
    targets = torch.stack([torch.diag(torch.tensor([2.0, 1.0, 0.0]).double()), gaussian(3, 3), gaussian(3, 3, seed=1)])
    left, right = starting_factors(targets, [1, 1, 1])
    left[0, :, 0], right[0, 0] = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    before = left.clone(), right.clone()
    solver = ALS(KnownTarget(targets), left, right, tolerance=1e-9)
    solver.active[1] = False
    solver.step()
    assert solver.active.tolist() == [False, False, True]
    for old, new in zip(before, (left, right), strict=True):
        assert torch.equal(old[:2], new[:2])
        assert not torch.equal(old[2], new[2])


def test_without_a_tolerance_no_member_stops() -> None:
    target = torch.diag(torch.tensor([2.0, 1.0]).double())[None]
    left = torch.tensor([[[2.0], [0.0]]], dtype=torch.float64)
    solver = ALS(KnownTarget(target), left, torch.tensor([[[1.0, 0.0]]], dtype=torch.float64))
    solver.step()
    assert solver.active.all()


def test_member_that_is_not_finite_does_not_stop_the_others() -> None:
    targets = gaussian(2, 6, 5)
    left, right = starting_factors(targets, [2, 2])
    right[0, 0, 0] = torch.nan
    solver = ALS(KnownTarget(targets), left, right)
    for _ in range(30):
        squared = solver.step()
    assert not squared[0].isfinite()
    best = np.linalg.svd(targets[1].numpy(), compute_uv=False)[2:]
    assert float(solver.squared_residual()[1]) == pytest.approx((best**2).sum(), rel=1e-6)


def test_both_factors_are_solved_for_with_the_damping_of_the_objective() -> None:
    target = gaussian(1, 6, 5)
    left, right = starting_factors(target, [2])
    objective = ObservedEntries(observed_of(target, gaussian(1, 6, 5, seed=1) < 0.8))
    best_left = objective.best_left(right, 0.1)
    expected = best_left @ objective.best_right(best_left, 0.1)
    solver = RiemannianCG(objective, left, right)
    solver.step()
    np.testing.assert_allclose(left @ right, expected, atol=1e-12)


def test_member_that_is_not_finite_leaves_the_others_balanced() -> None:
    targets = gaussian(2, 6, 5)
    left, right = starting_factors(targets, [2, 2])
    right[0, 0, 0] = torch.inf
    ALS(KnownTarget(targets), left, right).step()
    np.testing.assert_allclose((left.mT @ left)[1], (right @ right.mT)[1], atol=1e-12)


@pytest.mark.parametrize("by_keyword", [False, True])
def test_closure_is_called_before_a_step(by_keyword: bool) -> None:
    target = gaussian(1, 6, 5)
    left, right = starting_factors(target, [2])
    solver, before = ALS(KnownTarget(target), left, right), left.clone()
    seen: list[bool] = []

    def closure() -> float:
        seen.append(torch.equal(left, before))
        return 0.0

    if by_keyword:
        solver.step(closure=closure)
    else:
        solver.step(closure)
    assert seen == [True]
    assert not torch.equal(left, before)


def test_stationarity_damps_the_gram_matrices_of_both_factors() -> None:
    target = gaussian(1, 6, 5)
    left, right = starting_factors(target, [2])
    goal, u, v = (part[0].numpy() for part in (target, left, right))
    residual, squares = u @ v - goal, 0.0
    for gradient, gram in ((residual @ v.T, v @ v.T), ((u.T @ residual).T, u.T @ u)):
        damped = gram + 0.5 * np.trace(gram) / 2 * np.eye(2)
        squares += float((gradient * np.linalg.solve(damped, gradient.T).T).sum())
    found = float(stationarity(KnownTarget(target), left, right, damping=0.5))
    assert found == pytest.approx(math.sqrt(squares) / np.linalg.norm(goal), rel=1e-10)


class Counting(KnownTarget):
    """Counts how often a pair is looked at."""

    looks = 0

    def sight(self, left: Tensor, right: Tensor) -> Any:
        self.looks += 1
        return super().sight(left, right)


@pytest.mark.parametrize("solver", [ALS, RiemannianCG])
def test_a_certificate_and_the_step_after_it_look_at_a_pair_once(solver: Any) -> None:
    target = gaussian(1, 9, 8)
    left, right = starting_factors(target, [2])
    objective, plain = Counting(target), (left.clone(), right.clone())
    watched, alone = solver(objective, left, right), solver(KnownTarget(target), *plain)
    for step in range(12):
        found = watched.stationarity()
        torch.testing.assert_close(found, stationarity(KnownTarget(target), left, right), rtol=0, atol=0)
        watched.squared_residual()
        assert torch.equal(watched.step(), alone.step())
        assert objective.looks == step + 1
        assert torch.equal(left, plain[0]) and torch.equal(right, plain[1])


@pytest.mark.parametrize("change", ["the factors", "the entries"])
def test_what_was_looked_at_is_forgotten_where_it_changes(change: str) -> None:
    target = gaussian(1, 9, 8)
    left, right = starting_factors(target, [2])
    withheld = torch.arange(72) % 5 == 0
    entries = observed_of(target, torch.ones_like(target, dtype=torch.bool))
    objective = ObservedEntries(entries, [withheld])
    solver = ALS(objective, left, right)
    before = solver.stationarity()
    if change == "the factors":
        # No version of a tensor tells of it.
        left.numpy()[0, 0, 0] += 1
    else:
        objective.release(torch.tensor([True]))
    expected = stationarity(objective, left, right)
    assert torch.equal(solver.stationarity(), expected) and not torch.equal(before, expected)
