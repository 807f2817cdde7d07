import functools
from typing import Any

import pytest
import torch

from eckart.methods.compression import Compression
from eckart.nn.mlp import MLP
from eckart.optim.low_rank_integrator import LowRankIntegrator
from eckart.optim.schedules import cosine


def method(**settings: Any) -> Compression:
    inputs, labels = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    model = functools.partial(MLP, [6, 8, 3])
    optimizer = functools.partial(torch.optim.Adam, lr=1e-3)
    own: dict[str, Any] = {"budget": 0.8, "keep_slower": True, "optimizer": optimizer} | settings
    return Compression(inputs, labels, None, model=model, ranks=[None], seeds=[0], **own)


def test_fine_tuning_has_its_own_learning_rate() -> None:
    net = method(epochs=1, fine_tuning=1, fine_tuning_rate=3.0, schedule=cosine)
    rates = []
    for epoch in (0, 1):
        net.enter(epoch)
        schedule = net.schedule_of_phase()
        assert schedule is not None
        rates.append([schedule(progress) for progress in (0.0, 0.5)])
    assert rates == [[1.0, 0.5], [3.0, 1.5]]
    plain = method(epochs=0, fine_tuning_rate=3.0)
    plain.enter(0)
    schedule = plain.schedule_of_phase()
    assert schedule is not None and schedule(0.9) == 3.0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf")])
def test_a_rate_that_trains_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"fine_tuning_rate must be positive and finite. Found {rate}"):
        method(fine_tuning_rate=rate)


def test_an_optimizer_of_low_rank_nets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^optimizer=low_rank_integrator is for .* Found it with Compression\.$"):
        method(optimizer=functools.partial(LowRankIntegrator, lr=0.1))
