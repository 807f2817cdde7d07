"""A first layer in the coordinates of its inputs is the dense layer, as long as the optimizer is gradient descent."""

from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor, nn

from eckart.nn.coordinate_linear import CoordinateLinear
from eckart.nn.mlp import MLP

INPUTS, RANK, WIDTH = 9, 3, 7


def trained(coordinates: bool, kind: type[torch.optim.Optimizer], **settings: Any) -> tuple[list[float], nn.Linear]:
    """Losses of a net on inputs of rank 3, and its first layer as a dense one."""
    components = torch.linalg.qr(gaussian(INPUTS, RANK, seed=1)).Q.mT.contiguous()
    torch.manual_seed(0)
    net = MLP([INPUTS, WIDTH, 4]).double()
    first = net.layers[0]
    assert isinstance(first, nn.Linear)
    if coordinates:
        net.layers[0] = CoordinateLinear(first, components)
    optimizer = kind(net.parameters(), **settings)  # type: ignore[call-arg]
    losses = []
    for step in range(25):
        c, labels = gaussian(8, RANK, seed=step) * 3, torch.arange(8) % 4
        loss = nn.functional.cross_entropy(net(c if coordinates else c @ components), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    layer = net.layers[0]
    dense = layer.to_linear(components) if isinstance(layer, CoordinateLinear) else layer
    assert isinstance(dense, nn.Linear)
    return losses, dense


def check_same(found: Tensor, expected: Tensor) -> None:
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05},
        {"weight_decay": 0.2},
    ],
    ids=str,
)
def test_sgd_trains_the_dense_layer(settings: dict[str, Any]) -> None:
    losses, layer = trained(True, torch.optim.SGD, lr=0.3, **settings)
    expected, dense = trained(False, torch.optim.SGD, lr=0.3, **settings)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-12)
    check_same(layer.weight, dense.weight)
    check_same(layer.bias, dense.bias)
    assert max(expected) - min(expected) > 0.01


def test_adam_trains_another_layer() -> None:
    losses, _ = trained(True, torch.optim.Adam, lr=0.05)
    expected, _ = trained(False, torch.optim.Adam, lr=0.05)
    assert losses[0] == pytest.approx(expected[0], abs=1e-12)
    assert abs(losses[-1] - expected[-1]) > 1e-3


def test_a_layer_without_bias() -> None:
    linear, components = nn.Linear(5, 2, bias=False), torch.eye(5)[:3]
    layer = CoordinateLinear(linear, components)
    check_same(layer(torch.ones(1, 3)), linear(torch.ones(1, 3) @ components))
    assert layer.to_linear(components).bias is None
