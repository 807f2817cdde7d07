import math

import pytest
import torch

from eckart.optim import schedules


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
