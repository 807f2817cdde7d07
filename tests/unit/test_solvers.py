"""Alternating least squares and the schedules, beside what ``test_optim.py`` says of the others."""

import math

import numpy as np
import pytest
import torch

from eckart.optim import schedules
from eckart.optim.objectives import KnownTarget, ObservedEntries
from eckart.optim.solver import ALS


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


def test_schedules_start_at_the_rate_and_end_at_their_share_of_it() -> None:
    assert schedules.cosine(0.0) == 1.0
    assert schedules.cosine(1.0, final=0.1) == pytest.approx(0.1)
    assert schedules.cosine(0.05, warmup=0.1) == pytest.approx(0.5)
    assert schedules.exponential(0.5, final=0.04) == pytest.approx(0.2)


def test_a_schedule_is_of_the_rate_that_the_optimizer_was_made_with() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.4)
    for progress in (0.0, 0.5, 0.5, 1.0):
        schedules.apply(schedules.cosine, optimizer, progress)
        expected = 0.4 * (1 + math.cos(math.pi * progress)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-15)
