import itertools
import math

import numpy as np
import pytest
import torch
from matrices import gaussian

from eckart.nn.mlp import MLP


@pytest.mark.parametrize("widths", [[3, 2], [5, 7, 4], [6, 5, 4, 3]])
def test_mlp_is_the_sigmoid_net_written_by_hand(widths: list[int]) -> None:
    made = MLP(widths).double()
    assert sum(p.numel() for p in made.parameters()) == sum(a * b + b for a, b in itertools.pairwise(widths))
    x = gaussian(8, widths[0]).numpy()
    expected = x
    layers = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in made.layers]  # type: ignore[operator, union-attr]
    for place, (weight, bias) in enumerate(layers):
        expected = expected @ weight.T + bias
        if place < len(layers) - 1:
            expected = np.vectorize(lambda t: 1 / (1 + math.exp(-t)))(expected)
    np.testing.assert_allclose(made(torch.from_numpy(x)).detach(), expected, atol=1e-12)
