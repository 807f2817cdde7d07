import math

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import starting_factors
from numpy.typing import NDArray

from eckart.optim.objectives import KnownTarget, ObservedEntries
from eckart.optim.solver import ALS, stationarity

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
    objective = ObservedEntries(target, observed)
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
    best = ObservedEntries(target, observed).best_left(right)
    for row in range(7):
        seen = observed[0, row].numpy()
        expected = np.linalg.lstsq(right[0].numpy().T[seen], target[0, row].numpy()[seen], rcond=None)[0]
        np.testing.assert_allclose(best[0, row], expected, rtol=1e-8)
