import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import observed_of, starting_factors, with_spectrum
from numpy.typing import NDArray
from torch import Tensor

from eckart.optim.line_search import inner
from eckart.optim.objectives import KnownTarget, Objective, ObservedEntries
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import ALS

pytestmark = pytest.mark.usefixtures("one_thread")

Matrix = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def symmetric(size: int, seed: int) -> Matrix:
    half = rng(seed).random((size, size))
    return (half + half.T) / 2


def solve(solver: RiemannianCG, steps: int = 1000) -> None:
    for _ in range(steps):
        if not solver.active.any():
            return
        solver.step()


def train(targets: Sequence[Matrix], ranks: Sequence[int], tolerance: float = 1e-10) -> RiemannianCG:
    stack = torch.from_numpy(np.stack(targets))
    solver = RiemannianCG(KnownTarget(stack), *starting_factors(stack, ranks), tolerance=tolerance)
    solve(solver)
    return solver


def assert_optimal(solver: RiemannianCG, targets: Sequence[Matrix], ranks: Sequence[int], atol: float = 1e-8) -> None:
    for member, (target, rank) in enumerate(zip(targets, ranks, strict=True)):
        spectrum = scipy.linalg.svdvals(target)
        residual = target - (solver.left[member] @ solver.right[member]).numpy()
        found = scipy.linalg.svdvals(residual)
        best_2norm, best_frobenius = ([*spectrum, 0.0][rank], np.linalg.norm(spectrum[rank:]))
        assert abs(found[0] - best_2norm) <= atol * spectrum[0], (member, rank)
        assert abs(np.linalg.norm(found) - best_frobenius) <= atol * np.linalg.norm(spectrum), (member, rank)


FAMILIES = {
    "uniform": lambda seed: rng(seed).random((10, 10)),
    "gaussian": lambda seed: rng(seed).standard_normal((10, 10)),
    "symmetric": lambda seed: symmetric(10, seed),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_stack_of_all_ranks_reaches_the_truncated_svd(family: str) -> None:
    ranks = [*range(1, 10), *range(1, 10)]
    targets = [FAMILIES[family](seed) for seed in range(len(ranks))]
    solver = train(targets, ranks)
    assert not solver.active.any()
    assert_optimal(solver, targets, ranks)
    for member, rank in enumerate(ranks):
        assert (solver.left[member, :, rank:] == 0).all()
        assert (solver.right[member, rank:] == 0).all()


TARGETS: dict[str, tuple[Matrix, int]] = {
    "identity": (np.eye(50), 20),
    "diagonal": (np.diag(np.arange(50.0)), 20),
    "tall": (rng(1).standard_normal((60, 12)), 5),
    "wide": (rng(2).standard_normal((12, 60)), 5),
    "one column": (rng(3).standard_normal((9, 1)), 1),
    "one row": (rng(4).standard_normal((1, 9)), 1),
    "one entry": (np.array([[3.0]]), 1),
    "rank = min(m, n), square": (rng(5).standard_normal((10, 10)), 10),
    "rank = min(m, n), tall": (rng(6).standard_normal((20, 6)), 6),
    "rank = min(m, n), wide": (rng(7).standard_normal((6, 20)), 6),
    "rank(A) < k": (with_spectrum(12, 10, [3.0, 2.0, 1.0]).numpy(), 6),
    "rank(A) = k": (with_spectrum(12, 10, [3.0, 2.0, 1.0]).numpy(), 3),
    "rank(A) = 1 < k": (np.ones((8, 8)), 3),
    "scale 1e-6": (1e-6 * rng(8).standard_normal((10, 10)), 4),
    "scale 1e6": (1e6 * rng(8).standard_normal((10, 10)), 4),
    "tie at the cut": (with_spectrum(15, 12, [5.0, 4.0, 2.0, 2.0, 2.0, 1.0, 0.5]).numpy(), 4),
    "tie of all": (with_spectrum(12, 12, [1.0] * 12).numpy(), 7),
    "ill-conditioned": (with_spectrum(15, 12, [1e3, 1.0, 1e-2, 1e-3]).numpy(), 3),
    "zeros but one entry": (np.diag([0.0, 0.0, 4.0, 0.0]), 1),
    "block": (np.kron(np.eye(2), np.ones((5, 5))).astype(np.float64), 1),
}


@pytest.mark.parametrize("name", TARGETS)
def test_truncated_svd_is_reached(name: str) -> None:
    target, rank = TARGETS[name]
    assert_optimal(train([target], [rank]), [target], [rank])


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3])
def test_near_tie_is_told_apart(gap: float) -> None:
    target = with_spectrum(10, 10, [3.0, 2.0, 1.0, 1.0 - gap, 0.5, 0.2]).numpy()
    assert_optimal(train([target], [3]), [target], [3])


def test_member_of_a_stack_takes_the_steps_that_it_takes_alone() -> None:
    ranks = [2, 5, 1, 7]
    targets = torch.from_numpy(np.stack([rng(seed).random((9, 8)) for seed in range(4)]))
    left, right = starting_factors(targets, ranks)
    stacked = RiemannianCG(KnownTarget(targets), left, right, tolerance=1e-9)
    alone = []
    for member, rank in enumerate(ranks):
        part = targets[member : member + 1]
        alone.append(RiemannianCG(KnownTarget(part), *starting_factors(part, [rank]), tolerance=1e-9))
    for _ in range(40):
        together = stacked.step()
        for member, solver in enumerate(alone):
            np.testing.assert_allclose(together[member], solver.step()[0], rtol=1e-7)
            own = (solver.left @ solver.right)[0]
            product = left[member] @ right[member]
            assert torch.linalg.matrix_norm(own - product) <= 1e-8 * torch.linalg.matrix_norm(own)


def test_iterates_do_not_depend_on_how_the_product_is_split() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 9, 7)))
    left, right = starting_factors(target, [3])
    mixing = torch.from_numpy(rng(1).standard_normal((3, 3)) * np.array([0.2, 1.0, 5.0]))
    assert torch.linalg.cond(mixing) > 10
    other = RiemannianCG(KnownTarget(target), left @ mixing, torch.linalg.solve(mixing, right), damping=0.0)
    solver = RiemannianCG(KnownTarget(target), left, right, damping=0.0)
    for _ in range(12):
        solver.step()
        other.step()
        np.testing.assert_allclose(other.left @ other.right, solver.left @ solver.right, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.data())
def test_loss_never_increases(seed: int, rows: int, cols: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(rows, cols)))
    target = torch.from_numpy(rng(seed).standard_normal((1, rows, cols)))
    objective: Objective = KnownTarget(target)
    if data.draw(st.booleans()):
        observed = torch.from_numpy(rng(seed).random((1, rows, cols)) < 0.6)
        observed[0, 0, 0] = True
        objective = ObservedEntries(observed_of(target, observed))
    solver = RiemannianCG(objective, *starting_factors(target, [rank], seed=seed), tolerance=0.0, warm_up=0)
    losses = [float(solver.step()) for _ in range(30)]
    for before, after in itertools.pairwise(losses):
        assert after <= before * (1 + 1e-10) + 1e-24 * losses[0]


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("scale")])
def test_single_precision_stays_finite_and_comes_near(name: str) -> None:
    target, rank = TARGETS[name]
    targets, ranks = [scale * target for scale in (1e-6, 1.0, 1e6)], [rank] * 3
    stack = torch.from_numpy(np.stack(targets))
    left, right = (factor.float() for factor in starting_factors(stack, ranks))
    solver = RiemannianCG(KnownTarget(stack.float()), left, right, tolerance=1e-6)
    for _ in range(80):
        assert solver.step().isfinite().all()
    assert left.isfinite().all()
    assert right.isfinite().all()
    assert_optimal(solver, targets, ranks, atol=2e-4)


def test_masked_matrix_of_low_rank_is_completed() -> None:
    target = torch.from_numpy(with_spectrum(60, 50, [3.0, 2.0, 1.0]).numpy())[None]
    observed = torch.from_numpy(rng(5).random((1, 60, 50)) < 0.5)
    hidden = torch.where(observed, target, torch.nan)
    u, s, vh = scipy.linalg.svd(torch.where(observed, target, 0.0)[0].numpy() / 0.5, full_matrices=False)
    left, right = (
        torch.from_numpy(f).clone()[None] for f in (u[:, :3] * np.sqrt(s[:3]), np.sqrt(s[:3, None]) * vh[:3])
    )
    solver = RiemannianCG(ObservedEntries(observed_of(hidden, observed)), left, right, tolerance=1e-12)
    solve(solver, 300)
    assert torch.linalg.matrix_norm(left @ right - target) <= 1e-6 * torch.linalg.matrix_norm(target)


def test_masked_and_known_take_the_same_steps_where_all_is_observed() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 6, 5)))
    everything = torch.ones_like(target, dtype=torch.bool)
    known = RiemannianCG(KnownTarget(target), *starting_factors(target, [2]), warm_up=0)
    masked = RiemannianCG(ObservedEntries(observed_of(target, everything)), *starting_factors(target, [2]), warm_up=0)
    for _ in range(15):
        np.testing.assert_allclose(masked.step(), known.step(), rtol=1e-9)
        np.testing.assert_allclose(masked.left @ masked.right, known.left @ known.right, atol=1e-9)


def test_member_that_is_done_stays_as_it_is() -> None:
    targets = [np.diag([2.0, 1.0, 0.0]), rng(0).standard_normal((3, 3))]
    stack = torch.from_numpy(np.stack(targets))
    left, right = starting_factors(stack, [1, 1])
    left[0], right[0] = torch.tensor([[2.0], [0.0], [0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    solver = RiemannianCG(KnownTarget(stack), left, right, tolerance=1e-9)
    before = left[0].clone(), right[0].clone()
    solve(solver)
    assert torch.equal(left[0], before[0])
    assert torch.equal(right[0], before[1])
    assert_optimal(solver, targets, [1, 1])


def after_warm_up(seed: int = 0, **options: Any) -> tuple[RiemannianCG, dict[str, Any]]:
    """A solver in the middle of its steps on two targets, and what it remembers of the last one."""
    targets = torch.from_numpy(np.stack([rng(seed + member).standard_normal((9, 7)) for member in range(2)]))
    solver = RiemannianCG(KnownTarget(targets), *starting_factors(targets, [3, 3]), warm_up=2, **options)
    for _ in range(4):
        solver.step()
    return solver, solver.state[solver.left]


def steepest(solver: RiemannianCG) -> RiemannianCG:
    """A solver at the same factors that has no past."""
    return RiemannianCG(solver.objective, solver.left.clone(), solver.right.clone(), warm_up=0)


def orthogonal_to_gradient(solver: RiemannianCG) -> tuple[Tensor, Tensor]:
    """A direction along which the loss neither falls nor rises."""
    residual = solver.objective.residual(solver.left, solver.right)
    gradient = solver.objective.gradients(residual, solver.left, solver.right)
    draws = tuple(torch.from_numpy(rng(5).standard_normal(tuple(part.shape))) for part in gradient)
    share = inner(draws, gradient) / inner(gradient, gradient)
    left, right = (draw - share[:, None, None] * part for draw, part in zip(draws, gradient, strict=True))
    return left, right


def test_step_is_conjugate_to_the_last_one() -> None:
    solver, _ = after_warm_up()
    fresh = steepest(solver)
    solver.step()
    fresh.step()
    difference = (solver.left @ solver.right - fresh.left @ fresh.right).abs().flatten(1).max(1).values
    assert (difference > 1e-6).all()


def test_direction_that_does_not_descend_is_replaced_by_steepest_descent() -> None:
    solver, memory = after_warm_up()
    residual = solver.objective.residual(solver.left, solver.right)
    uphill = solver.objective.gradients(residual, solver.left, solver.right)
    # The first member is sent uphill; the second keeps its past.
    keep = torch.tensor([False, True])[:, None, None]
    memory["direction"] = tuple(
        torch.where(keep, own, 1e6 * part) for own, part in zip(memory["direction"], uphill, strict=True)
    )
    memory["gradient"] = tuple(
        torch.where(keep, own, -part) for own, part in zip(memory["gradient"], uphill, strict=True)
    )
    fresh = steepest(solver)
    solver.step()
    fresh.step()
    np.testing.assert_allclose(solver.left[0], fresh.left[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(solver.right[0], fresh.right[0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(solver.left[1], fresh.left[1], rtol=1e-6)


def test_negative_beta_is_steepest_descent() -> None:
    solver, memory = after_warm_up()
    residual = solver.objective.residual(solver.left, solver.right)
    gradient = solver.objective.gradients(residual, solver.left, solver.right)
    # Polak-Ribière's beta is (slope - 10 slope) / last slope, and the direction descends for any sign of it.
    memory["gradient"] = tuple(10 * part for part in gradient)
    memory["direction"] = orthogonal_to_gradient(solver)
    fresh = steepest(solver)
    solver.step()
    fresh.step()
    np.testing.assert_allclose(solver.left, fresh.left, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(solver.right, fresh.right, rtol=1e-9, atol=1e-12)


def test_member_that_is_restarted_descends_steepest_and_the_others_do_not() -> None:
    solver, _ = after_warm_up()
    fresh = steepest(solver)
    solver.restart(torch.tensor([True, False]))
    solver.step()
    fresh.step()
    np.testing.assert_allclose(solver.left[0], fresh.left[0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(solver.left[1], fresh.left[1], rtol=1e-6)


def test_warm_up_is_alternating_least_squares() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 9, 7)))
    solver = RiemannianCG(KnownTarget(target), *starting_factors(target, [3]), warm_up=3)
    als = ALS(KnownTarget(target), *starting_factors(target, [3]))
    for step in range(4):
        solver.step()
        als.step()
        assert torch.equal(solver.left, als.left) == (step < 3)


def test_ridge_keeps_a_row_with_few_entries_small() -> None:
    # Two nearly parallel rows of the other factor decide the second row: without a ridge it grows to 1e8.
    target = torch.tensor([[[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 1.0]]], dtype=torch.float64)
    observed = torch.tensor([[[True, True, True], [True, True, False], [True, True, True]]])
    right = torch.tensor([[[1.0, 1.0, 0.5], [0.0, 1e-8, 1.0]]], dtype=torch.float64)
    objective = ObservedEntries(observed_of(target, observed))
    assert objective.best_left(right).abs().max() > 1e5
    solver = RiemannianCG(objective, torch.ones(1, 3, 2, dtype=torch.float64), right)
    solver.step()
    assert (solver.left @ solver.right).abs().max() < 10
