"""Compiled steps of Adam are those of ``torch.optim.Adam``, and a member's do not depend on the others."""

import functools
from typing import Any

import pytest
import torch
from matrices import gaussian

from eckart.linalg.operators import Dense
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.compiled_steps import CompiledSteps
from eckart.methods.factorized_linear import FactorizedLinear
from eckart.methods.problems import LossProblem
from eckart.optim.schedules import exponential

RANKS = [1, 3, 2]


def trained(
    kind: type[Any] = BottleneckNet, places: tuple[int, ...] = (0, 1, 2), *, threads: int = 1, **options: Any
) -> Any:
    settings = {name: options.pop(name) for name in ("amsgrad", "foreach", "fused") if name in options}
    adam = functools.partial(options.pop("optimizer", torch.optim.Adam), lr=0.01, weight_decay=1e-3, **settings)
    if kind is BottleneckNet:
        options.setdefault("hidden", [6, 7])
    common: dict[str, Any] = {"probes": "uniform", "vectors": 21, "batch_size": 8, "max_steps": 40} | options
    method = kind(
        Dense(gaussian(3, 5, 6)[list(places)]),
        ranks=[RANKS[place] for place in places],
        # Two members learn from the same probes.
        seeds=[place // 2 for place in places],
        optimizer=adam,
        width=3,
        **common,
    )
    method._threads = threads
    method.learn()
    return method


@pytest.mark.parametrize("kind", [BottleneckNet, FactorizedLinear])
@pytest.mark.parametrize(
    "options", [{}, {"schedule": exponential}, {"batch_size": None}, {"probes": "orthogonal", "vectors": None}], ids=str
)
def test_steps_are_those_of_torch(kind: type[Any], options: dict[str, Any]) -> None:
    found, expected = trained(kind, **options), trained(kind, foreach=True, **options)
    assert (type(found._problem), type(expected._problem)) == (CompiledSteps, LossProblem)
    torch.testing.assert_close(found.driver.loss, expected.driver.loss, rtol=1e-10, atol=0)
    for ours, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)
        kept, known = found._own_optimizer.state[ours], expected._own_optimizer.state[theirs]
        assert kept.keys() == known.keys()
        for name, value in kept.items():
            torch.testing.assert_close(value, known[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_member_has_the_bits_that_it_has_alone_on_any_number_of_threads(dtype: torch.dtype) -> None:
    whole = trained(dtype=dtype, threads=3)
    for places in ((0,), (2, 1), (0, 1, 2)):
        part = trained(places=places, dtype=dtype, record_every=7)
        for ours, theirs in zip(part.parameters(), whole.parameters(), strict=True):
            assert torch.equal(ours, theirs[list(places)])


def test_a_member_that_is_not_trained_stays_as_it_is() -> None:
    method = trained(max_steps=3)
    before = [parameter.detach().clone() for parameter in method.parameters()]
    reached, _ = method._problem.advance_to(3, 6, torch.tensor([True, False, True]))
    assert reached == 6
    for old, new in zip(before, method.parameters(), strict=True):
        assert torch.equal(new[1], old[1])
        assert not torch.equal(new[0], old[0])


@pytest.mark.parametrize(
    "options",
    [
        {"fused": True},
        {"amsgrad": True},
        {"optimizer": torch.optim.AdamW},
        {"vectors": None},
        {"hidden": [100, 90]},
        {"transpose": True, "vectors": 4, "batch_size": None},
    ],
    ids=str,
)
def test_every_other_training_is_torchs(options: dict[str, Any]) -> None:
    assert type(trained(max_steps=1, **options)._problem) is LossProblem


def test_steps_that_a_callback_sees_are_torchs() -> None:
    method = trained(max_steps=1)
    method.block_steps = 1
    assert type(method._make_problem()) is LossProblem


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.weights[0].requires_grad_(False),
        lambda net: net.weights[0].register_hook(lambda gradient: 0 * gradient),
        lambda net: net.register_forward_hook(lambda *_: None),
    ],
    ids=["frozen", "a hook of a weight", "a hook of the net"],
)
def test_weights_that_are_frozen_or_watched_are_torchs(change: Any) -> None:
    method = trained(max_steps=1)
    change(method.net)
    assert type(method._make_problem()) is LossProblem
