from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian, observed_of
from torch import Tensor

from eckart.optim.objectives import KnownTarget, Objective, ObservedEntries

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
Problem = tuple[Tensor, Tensor, Tensor, Tensor]


def problem(stack: int, rows: int, cols: int, rank: int, seed: int) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    target, left, right = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(stack, rows, cols), (stack, rows, rank), (stack, rank, cols)]
    )
    observed = torch.rand(stack, rows, cols, generator=generator) < 0.4
    # Every member observes something, and the first all that there is, so that the others are padded.
    observed[:, 0, 0] = True
    observed[0] = True
    return target, left, right, observed


def gradients_by_autograd(target: Tensor, weight: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    left, right = left.clone().requires_grad_(), right.clone().requires_grad_()
    (0.5 * (weight * (left @ right - target)).square().sum()).backward()
    assert left.grad is not None and right.grad is not None
    return left.grad, right.grad


def dense(objective: ObservedEntries, entries: Tensor) -> Tensor:
    matrices = torch.zeros(len(entries), objective.rows, objective.cols, dtype=entries.dtype)
    for member, count in enumerate(objective.counts):
        assert (entries[member, count:] == 0).all()
        row, col = objective.row[member, :count], objective.col[member, :count]
        matrices[member, row, col] = entries[member, :count]
    return matrices


@settings(max_examples=25, deadline=None)
@given(SHAPES)
def test_known_target_agrees_with_dense_arithmetic(shape: tuple[int, int, int, int, int]) -> None:
    target, left, right, _ = problem(*shape)
    objective = KnownTarget(target)
    product = left.numpy() @ right.numpy()
    residual = objective.residual(left, right)
    np.testing.assert_allclose(objective.product(left, right), product, atol=1e-12)
    np.testing.assert_allclose(residual, product - target.numpy(), atol=1e-12)
    np.testing.assert_allclose(objective.norms, np.linalg.norm(target.numpy(), axis=(1, 2)), rtol=1e-12)
    expected = gradients_by_autograd(target, torch.ones_like(target), left, right)
    for gradient, reference in zip(objective.gradients(residual, left, right), expected, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(SHAPES)
def test_observed_entries_agree_with_masked_dense_arithmetic(shape: tuple[int, int, int, int, int]) -> None:
    target, left, right, observed = problem(*shape)
    objective = ObservedEntries(observed_of(target, observed))
    mask = observed.numpy()
    product = left.numpy() @ right.numpy() * mask
    residual = objective.residual(left, right)
    assert residual.shape == (len(target), observed.flatten(1).sum(1).max())
    np.testing.assert_allclose(dense(objective, objective.product(left, right)), product, atol=1e-12)
    np.testing.assert_allclose(dense(objective, residual), product - target.numpy() * mask, atol=1e-12)
    np.testing.assert_allclose(objective.norms, np.linalg.norm(target.numpy() * mask, axis=(1, 2)), rtol=1e-12)
    expected = gradients_by_autograd(target, observed.double(), left, right)
    for gradient, reference in zip(objective.gradients(residual, left, right), expected, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=1e-11)


@pytest.mark.parametrize("hidden", [float("nan"), float("inf"), 1e300])
def test_held_out_entries_are_never_read(hidden: float) -> None:
    target, left, right, observed = problem(3, 6, 5, 2, 0)
    # A padded entry points at place 0 of its member: nothing of a held-out entry may come through it.
    observed[1, 0, 0] = False
    observed[1, 2, 3] = True
    clean, spoiled = (
        ObservedEntries(observed_of(torch.where(observed, target, filler), observed)) for filler in (0.0, hidden)
    )
    assert torch.equal(clean.norms, spoiled.norms)
    residual = clean.residual(left, right)
    assert torch.equal(residual, spoiled.residual(left, right))
    for a, b in zip(clean.gradients(residual, left, right), spoiled.gradients(residual, left, right), strict=True):
        assert torch.equal(a, b)
        assert a.isfinite().all()
    for member in range(3):
        for a, b in zip(clean.entries(member), spoiled.entries(member), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    "make",
    [
        lambda target, observed: KnownTarget(target),
        lambda target, observed: ObservedEntries(observed_of(target, observed)),
    ],
)
def test_entries_are_in_row_major_order(make: Callable[[Tensor, Tensor], Objective]) -> None:
    target, _, _, observed = problem(3, 4, 5, 1, 7)
    objective = make(target, observed)
    for member in range(3):
        expected = [
            (r, c, float(target[member, r, c]))
            for r in range(4)
            for c in range(5)
            if observed[member, r, c] or isinstance(objective, KnownTarget)
        ]
        row, col, values = objective.entries(member)
        assert list(zip(row.tolist(), col.tolist(), values.tolist(), strict=True)) == expected


def test_all_entries_observed_is_the_known_target() -> None:
    target, left, right, _ = problem(2, 4, 3, 2, 3)
    known, observed = (
        KnownTarget(target),
        ObservedEntries(observed_of(target, torch.ones_like(target, dtype=torch.bool))),
    )
    np.testing.assert_allclose(observed.residual(left, right), known.residual(left, right).flatten(1), atol=1e-14)
    np.testing.assert_allclose(observed.norms, known.norms, rtol=1e-14)


def test_padding_does_not_change_a_member() -> None:
    target, left, right, observed = problem(4, 5, 6, 3, 11)
    stacked = ObservedEntries(observed_of(target, observed))
    residual = stacked.residual(left, right)
    gradients = stacked.gradients(residual, left, right)
    for member in range(4):
        part = slice(member, member + 1)
        alone = ObservedEntries(observed_of(target[part], observed[part]))
        own = alone.residual(left[part], right[part])
        assert torch.equal(own[0], residual[member, : own.shape[1]])
        for a, b in zip(alone.gradients(own, left[part], right[part]), gradients, strict=True):
            np.testing.assert_allclose(a[0], b[member], atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_of_the_target_is_kept(dtype: torch.dtype) -> None:
    target, left, right, observed = (part.to(dtype) for part in problem(2, 4, 3, 2, 3))
    for objective in (KnownTarget(target), ObservedEntries(observed_of(target, observed.bool()))):
        residual = objective.residual(left, right)
        assert residual.dtype == objective.norms.dtype == dtype
        assert all(gradient.dtype == dtype for gradient in objective.gradients(residual, left, right))


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_best_factors_are_damped_least_squares(damping: float) -> None:
    target, left, right, observed = problem(2, 7, 6, 2, 5)
    options = {} if damping == 0 else {"damping": damping}
    for objective, mask in (
        (KnownTarget(target), torch.ones_like(target, dtype=torch.bool)),
        (ObservedEntries(observed_of(target, observed)), observed),
    ):
        for found, known, goal, seen in (
            (objective.best_left(right, **options), right.mT, target, mask),
            (objective.best_right(left, **options).mT, left, target.mT, mask.mT),
        ):
            for member in range(2):
                for row in range(goal.shape[1]):
                    own = seen[member, row].numpy()
                    factor = known[member].numpy()[own]
                    gram = factor.T @ factor
                    gram = gram + damping * np.trace(gram) / 2 * np.eye(2)
                    if np.linalg.cond(gram) < 1e6:
                        expected = np.linalg.solve(gram, factor.T @ goal[member, row].numpy()[own])
                        np.testing.assert_allclose(found[member, row], expected, rtol=1e-8)


def test_a_large_target_is_seen_by_its_products_as_by_its_residual() -> None:
    target, left, right = gaussian(2, 90, 80), gaussian(2, 90, 3, seed=1), gaussian(2, 3, 80, seed=2)
    direction = gaussian(2, 90, 3, seed=3), gaussian(2, 3, 80, seed=4)
    objective = KnownTarget(target)
    residual, seen = objective.residual(left, right), objective.sight(left, right)
    assert not isinstance(seen, Tensor)
    for ours, formed in zip(
        (objective.squares(seen), *objective.gradients(seen, left, right)),
        (objective.squares(residual), *objective.gradients(residual, left, right)),
        strict=True,
    ):
        torch.testing.assert_close(ours, formed, rtol=1e-12, atol=1e-10)
    along = objective.along(residual, left, right, direction)
    torch.testing.assert_close(objective.along(seen, left, right, direction), along, rtol=1e-12, atol=1e-10)
