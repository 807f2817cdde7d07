import functools
from typing import Any

import pytest
import torch

from eckart.compression.counting import count_parameters
from eckart.compression.factorize import TOLD
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


def test_each_budget_on_the_way_is_kept() -> None:
    net = method(budget=0.5, lowering=[0.8], epochs=1, fine_tuning=1)
    sizes = []
    for epoch in range(3):
        net.enter(epoch)
        sizes.append(count_parameters(net.net))
    dense, first, last = sizes
    assert last <= 0.5 * dense < first <= 0.8 * dense


def test_what_the_net_is_compared_with_is_not_trained() -> None:
    net = method(epochs=1, fine_tuning=1)
    net.enter(1)
    x = net.prepared(net.samples[0])
    before = {name: model(x).detach() for name, model in net.finals().items()}
    assert before.keys() == {"accuracy_dense", "accuracy_factorized", "accuracy"}
    with torch.no_grad():
        for parameter in net.net.parameters():
            parameter.add_(1.0)
    same = {name for name, model in net.finals().items() if torch.equal(model(x), before[name])}
    assert same == {"accuracy_dense", "accuracy_factorized"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_outputs_of_the_dense_net_take_the_place_of_labels(share: float) -> None:
    net = method(epochs=1, fine_tuning=1, distillation=share)
    net.enter(1)
    x = net.prepared(net.samples[0])
    losses = [float(net.loss(x, torch.full((40,), label)).detach()) for label in (0, 1)]
    assert (losses[0] == losses[1]) == (share == 1.0)


@pytest.mark.parametrize("kind", ["measured", "second_order", "relative"])
def test_the_worth_of_an_error_is_that_which_was_asked_for(kind: str) -> None:
    net = method(sensitivity=kind, epochs=0)
    net.enter(0)
    assert net.factorized is not None
    assert {TOLD[kind] in layer.why for layer in net.factorized.layers if layer.rank is not None} == {True}
