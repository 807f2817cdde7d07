import math
from typing import Any

import numpy as np
import pytest
import torch

from eckart.optim import schedules


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_cosine_rises_linearly_and_falls_along_half_a_cosine(warmup: float, final: float) -> None:
    for progress in (0.0, 0.1, 0.2, 0.25, 0.4, 0.625, 0.9, 1.0):
        found = schedules.cosine(progress, warmup=warmup, final=final)
        if progress < warmup:
            expected = progress / warmup
        else:
            # Half a period of a cosine between 1 and final.
            expected = (1 + final) / 2 + (1 - final) / 2 * math.cos((progress - warmup) / (1 - warmup) * math.pi)
        assert found == pytest.approx(expected, abs=1e-15)
    assert schedules.cosine(warmup, warmup=warmup, final=final) == 1.0
    assert schedules.cosine(1.0, warmup=warmup, final=final) == pytest.approx(final, abs=1e-15)


def test_default_cosine_falls_to_zero_from_the_start() -> None:
    assert schedules.cosine(0.0) == 1.0
    assert schedules.cosine(0.5) == pytest.approx(0.5)
    assert schedules.cosine(1.0) == pytest.approx(0.0, abs=1e-15)


def test_exponential_falls_by_equal_ratios() -> None:
    rates = np.array([schedules.exponential(progress, final=0.04) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)])
    np.testing.assert_allclose(rates[1:] / rates[:-1], 0.04**0.25)
    assert (rates[0], rates[-1]) == (1.0, 0.04)
    assert schedules.exponential(1.0) == 0.01


def test_a_schedule_is_of_the_rate_that_the_optimizer_was_made_with() -> None:
    groups: list[dict[str, Any]] = [
        {"params": [torch.nn.Parameter(torch.ones(1))]},
        {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 3.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.4)
    for progress in (0.0, 0.5, 0.5, 1.0):
        schedules.apply(schedules.cosine, optimizer, progress)
        factor = (1 + math.cos(math.pi * progress)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.4 * factor, abs=1e-15)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(3.0 * factor, abs=1e-15)
    # The key under which torch's own schedulers keep it, and a checkpoint carries it.
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.4, 3.0]


def test_no_schedule_leaves_the_rate_as_it_is() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.4)
    schedules.apply(None, optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] == 0.4
    assert "initial_lr" not in optimizer.param_groups[0]
