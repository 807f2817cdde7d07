"""Gradients by formula are those of automatic differentiation."""

from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import nn

from eckart.nn.coordinate_linear import CoordinateLinear
from eckart.nn.gradients import set_gradients
from eckart.nn.mlp import MLP


@pytest.mark.parametrize("widths", [[5, 3], [5, 7, 4], [6, 5, 4, 3]])
@pytest.mark.parametrize("coordinates", [False, True])
def test_gradients(widths: list[int], coordinates: bool) -> None:
    torch.manual_seed(0)
    net = MLP(widths).double()
    if coordinates:
        first: Any = net.layers[0]
        net.layers[0] = CoordinateLinear(first, torch.eye(widths[0], dtype=torch.float64)[:2])
    x, labels = gaussian(9, 2 if coordinates else widths[0]) * 2, torch.arange(9) % widths[-1]
    expected = nn.functional.cross_entropy(net(x), labels)
    expected.backward()
    gradients = {name: value.grad for name, value in net.named_parameters() if value.grad is not None}
    net.zero_grad()
    loss = set_gradients(net, x, labels)
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-13)
    assert len(gradients) == 2 * len(widths) - 2 + coordinates
    for name, value in net.named_parameters():
        if name in gradients:
            assert value.grad is not None
            np.testing.assert_allclose(value.grad, gradients[name], rtol=0, atol=1e-14)
        else:
            assert value.grad is None
