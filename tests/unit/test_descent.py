"""Steps in place are those of automatic differentiation and torch.optim.SGD."""

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import nn

from eckart.nn.coordinate_linear import CoordinateLinear
from eckart.nn.descent import descend, takes
from eckart.nn.mlp import MLP

SGD = torch.optim.SGD


def net(widths: list[int], coordinates: bool = False) -> MLP:
    torch.manual_seed(0)
    made = MLP(widths).double()
    if coordinates:
        first: Any = made.layers[0]
        made.layers[0] = CoordinateLinear(first, torch.eye(widths[0], dtype=torch.float64)[:2])
    return made


@pytest.mark.parametrize("widths", [[5, 3], [5, 7, 4], [6, 5, 4, 3]])
@pytest.mark.parametrize("coordinates", [False, True])
def test_steps(widths: list[int], coordinates: bool) -> None:
    found = net(widths, coordinates)
    expected = copy.deepcopy(found)
    x, labels = gaussian(22, 2 if coordinates else widths[0]) * 2, torch.arange(22) % widths[-1]
    rates = [0.5, 0.4, 0.3, 0.2]
    losses, optimizer = [], SGD(expected.parameters(), lr=0.1)
    assert takes(SGD(found.parameters(), lr=0.1), found)
    for rate, inputs, known in zip(rates, x.split(6), labels.split(6), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        loss = nn.functional.cross_entropy(expected(inputs), known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(descend(found, x, labels, 6, rates), losses, rtol=1e-12)
    for name, value in found.state_dict().items():
        np.testing.assert_allclose(value, expected.state_dict()[name], rtol=0, atol=1e-13)


def test_a_logit_at_minus_infinity_does_not_count_where_it_is_not_the_class() -> None:
    made = net([2, 3])
    last: Any = made.layers[0]
    last.bias.data[2] = -torch.inf
    losses = descend(made, gaussian(4, 2), torch.tensor([0, 1, 1, 0]), 2, [0.1, 0.1])
    assert losses.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9}, {"weight_decay": 0.1}, {"maximize": True}, {"fused": True}, {"lr": torch.tensor(0.1)}],
    ids=str,
)
def test_other_steps_are_left_to_torch(options: dict[str, Any]) -> None:
    made = net([4, 3])
    assert not takes(SGD(made.parameters(), **{"lr": 0.1, **options}), made)


def test_what_a_user_changed_is_left_to_torch() -> None:
    made = net([4, 3, 2])
    weights = list(made.parameters())
    plain = functools.partial(SGD, lr=0.1)
    assert takes(plain(weights), made)
    assert not takes(plain(weights[1:]), made)
    assert not takes(plain([{"params": weights[:2]}, {"params": weights[2:]}]), made)
    assert not takes(torch.optim.Adam(weights), made)
    hooked = plain(weights)
    hooked.register_step_pre_hook(lambda *_: None)
    assert not takes(hooked, made)
    weights[0].requires_grad_(False)
    assert not takes(plain(weights), made)
    assert not takes(plain(list(MLP([4, 2], activation="relu").parameters())), MLP([4, 2], activation="relu"))
