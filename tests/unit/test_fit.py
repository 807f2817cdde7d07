"""Training without a trainer, against the truncated SVD of NumPy."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian, observed_of, starting_factors, with_spectrum
from torch import Tensor

from eckart.optim import driver as driver_module
from eckart.optim.driver import Driver
from eckart.optim.fit import PairProblem, fit
from eckart.optim.objectives import KnownTarget, ObservedEntries
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import ALS, PairSolver

pytestmark = pytest.mark.usefixtures("one_thread")


def tail(target: Tensor, rank: int) -> float:
    """Squared Frobenius error of the best approximation."""
    return float((np.linalg.svd(target.numpy(), compute_uv=False)[rank:] ** 2).sum())


@pytest.mark.parametrize("solver", [RiemannianCG, ALS])
def test_each_member_of_a_padded_stack_reaches_its_optimum(solver: Any) -> None:
    targets = torch.stack([with_spectrum(9, 7, [1.0, 0.7, 0.4, 0.1, 0.05, 0.02], seed=seed) for seed in range(3)])
    ranks = [1, 3, 2]
    left, right = starting_factors(targets, ranks)
    given = left.clone(), right.clone()
    found = fit(KnownTarget(targets), left, right, solver, ranks=ranks, max_steps=500, tolerance=1e-9)
    assert torch.equal(left, given[0]) and torch.equal(right, given[1])
    assert found.converged.all() and not found.diverged.any()
    assert (found.stationarity <= 1e-9).all()
    for member, rank in enumerate(ranks):
        assert float(found.loss[member]) == pytest.approx(tail(targets[member], rank), rel=1e-8)
        residual = targets[member] - found.left[member] @ found.right[member]
        assert float(residual.square().sum()) == pytest.approx(float(found.loss[member]), rel=1e-10)
        assert (found.left[member, :, rank:] == 0).all() and (found.right[member, rank:] == 0).all()
        assert found.reasons[member].startswith("converged: the gradient in the scaled metric is ")
    assert found.seconds > 0
    steps = torch.stack([steps for steps, _ in found.records])
    assert (steps[0] == 0).all() and torch.equal(steps[-1], found.steps)
    assert (steps.diff(dim=0) >= 0).all()
    assert torch.equal(found.records[-1][1], found.loss)
    start = (targets - left @ right).square().sum((1, 2))
    np.testing.assert_allclose(found.records[0][1], start, rtol=1e-12)
    assert found.loss.dtype == torch.float64


def test_without_ranks_every_column_is_trained() -> None:
    target = with_spectrum(9, 7, [4.0, 3, 2, 1])[None]
    # The wrong triplets: a saddle, which is left only if the rank is known to be 2.
    u, s, vh = torch.linalg.svd(target, full_matrices=False)
    left, right = u[:, :, 2:4] * s[:, None, 2:4], vh[:, 2:4]
    found = fit(KnownTarget(target), left, right, ALS)
    assert found.loss.item() == pytest.approx(5.0, rel=1e-10)


def test_training_ends_at_max_steps_and_says_so() -> None:
    target = gaussian(1, 9, 7)
    left, right = starting_factors(target, [2])
    found = fit(KnownTarget(target), left, right, ALS, max_steps=7, record_every=3, tolerance=1e-12)
    assert [int(steps) for steps, _ in found.records] == [0, 3, 6, 7]
    assert found.steps.tolist() == [7]
    assert found.converged.tolist() == [False]
    assert found.reasons == ["stopped at max_steps=7"]


def test_by_default_training_ends_after_2000_steps_with_a_tolerance_of_1e_10() -> None:
    class Still(PairSolver):
        def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
            assert self.tolerance == 1e-10
            return self.squared_residual()

    target = gaussian(1, 9, 7)
    left, right = starting_factors(target, [2])
    # On observed entries nothing moves it.
    found = fit(ObservedEntries(observed_of(target, target == target)), left, right, Still)
    assert found.steps.tolist() == [2000]


@pytest.mark.parametrize(
    ("dtype", "asked", "expected"),
    [
        (torch.float32, 1e-10, 16 * 2.0**-23),
        (torch.float64, 1e-20, 16 * 2.0**-52),
        (torch.float64, 1e-8, 1e-8),
        (torch.float32, 0.0, 0.0),
    ],
)
def test_the_tolerance_is_above_rounding_or_none(dtype: torch.dtype, asked: float, expected: float) -> None:
    seen = []

    class Seen(ALS):
        def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
            seen.append(self.tolerance)
            return super().step()

    target = gaussian(1, 6, 5, dtype=dtype)
    left, right = (part.to(dtype) for part in starting_factors(target.double(), [2]))
    drivers: list[Driver] = []
    fit(
        KnownTarget(target),
        left,
        right,
        Seen,
        max_steps=1,
        tolerance=asked,
        on_record=lambda driver, left, right: drivers.append(driver),
    )
    assert seen == [expected] and drivers[0].tolerance == expected


def test_without_a_tolerance_training_goes_to_the_end() -> None:
    target = with_spectrum(6, 5, [3.0, 1e-3])[None]
    left, right = starting_factors(target, [1])
    found = fit(KnownTarget(target), left, right, ALS, max_steps=30, tolerance=0)
    assert found.steps.tolist() == [30] and not found.converged.any()


def test_a_caller_sees_each_record_and_may_stop_members() -> None:
    targets = gaussian(2, 9, 7)
    left, right = starting_factors(targets, [2, 2])
    seen = []

    def stop_at_two(driver: Driver, left: Tensor, right: Tensor) -> None:
        seen.append((driver.steps.tolist(), float((targets[0] - left[0] @ right[0]).square().sum())))
        driver.stop(torch.tensor([driver.step_count == 2, False]))

    found = fit(KnownTarget(targets), left, right, ALS, max_steps=4, tolerance=1e-12, on_record=stop_at_two)
    assert [steps for steps, _ in seen] == [[0, 0], [1, 1], [2, 2], [2, 3], [2, 4]]
    np.testing.assert_allclose([loss for _, loss in seen], [float(loss[0]) for _, loss in found.records], rtol=1e-10)
    assert found.steps.tolist() == [2, 4]
    # Records are copies: later steps do not change them.
    assert [steps.tolist() for steps, _ in found.records] == [steps for steps, _ in seen]


def test_a_member_that_diverges_keeps_its_last_finite_factors() -> None:
    class Diverging(ALS):
        count = 0

        def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
            before = super().step()
            self.count += 1
            if self.count == 3:
                self.left[0, 0, 0] = torch.nan
            return before

    targets = gaussian(2, 6, 5)
    left, right = starting_factors(targets, [2, 2])
    found = fit(KnownTarget(targets), left, right, Diverging, tolerance=1e-9)
    alone = fit(KnownTarget(targets[:1]), left[:1], right[:1], ALS, max_steps=2)
    assert found.diverged.tolist() == [True, False]
    assert found.converged.tolist() == [False, True]
    assert found.reasons[0] == "diverged after 3 steps: its loss is no longer finite"
    assert found.left.isfinite().all()
    np.testing.assert_allclose(found.left[0], alone.left[0], atol=1e-12)
    assert float(found.loss[1]) == pytest.approx(tail(targets[1], 2), rel=1e-8)


def steps_beside_a_near_tie(monkeypatch: pytest.MonkeyPatch, slow: int) -> tuple[int, float]:
    monkeypatch.setattr(driver_module, "_SLOW", slow)
    target = with_spectrum(20, 15, [1.0, 0.5, 0.5 * (1 - 1e-6), 0.2])[None]
    left, right = starting_factors(target, [2])
    found = fit(KnownTarget(target), left, right, ALS, max_steps=300, tolerance=1e-12)
    return int(found.steps), float(found.loss) - tail(target[0], 2)


def test_a_near_tie_is_ended_by_a_move_after_100_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, excess = steps_beside_a_near_tie(monkeypatch, 100)
    assert 100 <= steps < 120
    assert abs(excess) < 1e-14
    without, left_over = steps_beside_a_near_tie(monkeypatch, 10**6)
    assert without == 300
    assert left_over > 1e-8


def problem(objective: Any, stack: int = 1, solver: Any = ALS) -> PairProblem:
    left, right = gaussian(stack, 6, 2, seed=1), gaussian(stack, 2, 5, seed=2)
    return PairProblem(solver(objective, left, right, tolerance=1e-9), [2] * stack)


def test_a_pair_is_a_problem_of_the_driver() -> None:
    target = gaussian(2, 6, 5)
    pair = problem(KnownTarget(target), 2)
    left, right = pair.solver.left, pair.solver.right
    residual = (target - left @ right).numpy()
    np.testing.assert_allclose(pair.loss(0), (residual**2).sum((1, 2)), rtol=1e-12)
    norms = [np.linalg.norm(left[member]) * np.linalg.norm(right[member]) for member in range(2)]
    np.testing.assert_allclose(pair.size(), norms, rtol=1e-12)
    assert [part is own for part, own in zip(pair.tensors(), (left, right), strict=True)] == [True, True]
    before = left.clone()
    active = torch.tensor([False, True])
    np.testing.assert_allclose(pair.advance(0, active), (residual**2).sum((1, 2)), rtol=1e-12)
    assert pair.solver.active is active
    assert torch.equal(left[0], before[0]) and not torch.equal(left[1], before[1])


@pytest.mark.parametrize(("solver", "damping"), [(ALS, 1e-6), (functools.partial(RiemannianCG, damping=0.5), 0.5)])
def test_the_certificate_has_the_damping_of_the_solver(solver: Any, damping: float) -> None:
    target = gaussian(1, 6, 5)
    pair = problem(KnownTarget(target), solver=solver)
    goal, u, v = (part[0].numpy() for part in (target, pair.solver.left, pair.solver.right))
    residual, squares = u @ v - goal, 0.0
    for gradient, gram in ((residual @ v.T, v @ v.T), ((u.T @ residual).T, u.T @ u)):
        damped = gram + damping * np.trace(gram) / 2 * np.eye(2)
        squares += float((gradient * np.linalg.solve(damped, gradient.T).T).sum())
    assert float(pair.certificate()) == pytest.approx(np.sqrt(squares) / np.linalg.norm(goal), rel=1e-11)


def test_moved_members_restart_their_solver_and_observed_entries_have_no_move() -> None:
    target = with_spectrum(6, 5, [4.0, 3, 2, 1])
    u, s, vh = torch.linalg.svd(target, full_matrices=False)
    restarted = []

    class Told(ALS):
        def restart(self, members: Tensor) -> None:
            restarted.append(members.tolist())

    members = torch.tensor([True, False, True])
    targets = target.expand(3, -1, -1).contiguous()
    for objective in (KnownTarget(targets), ObservedEntries(observed_of(targets, targets == targets))):
        pair = problem(objective, 3, Told)
        pair.solver.left.copy_(u[:, 2:4] * s[2:4])
        pair.solver.right.copy_(vh[2:4])
        pair.solver.left[2] = u[:, :2] * s[:2]
        pair.solver.right[2] = vh[:2]
        known = isinstance(objective, KnownTarget)
        assert pair.leave_saddles(members, always=False).tolist() == [known, False, False]
        assert restarted == [[True, False, False]]
        assert pair.leave_saddles(members, always=True).tolist() == [known, False, known]
        restarted = restarted[:1]
    assert pair.leave_saddles(torch.zeros(3, dtype=torch.bool), always=True).tolist() == [False] * 3


def test_the_margin_of_a_saddle_is_the_tolerance_of_the_solver() -> None:
    target = torch.diag(torch.tensor([1 + 1e-6, 1.0, 0.1], dtype=torch.float64))[None]
    for tolerance, expected in ((1e-7, True), (1e-5, False)):
        left = torch.tensor([[[0.0], [1.0], [0.0]]], dtype=torch.float64)
        solver = ALS(KnownTarget(target), left, left.mT.clone(), tolerance=tolerance)
        assert PairProblem(solver, [1]).leave_saddles(torch.tensor([True]), always=False).item() == expected
