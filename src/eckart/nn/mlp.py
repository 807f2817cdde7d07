"""A multilayer perceptron."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Multilayer perceptron with sigmoid units between its layers.

    Args:
        widths: Units of each layer, from the inputs to the logits.

    Example:
        >>> MLP([784, 500, 10])(torch.zeros(64, 784)).shape
        torch.Size([64, 10])
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs)`` to logits ``(batch, classes)``."""
        for layer in self.layers[:-1]:
            x = torch.sigmoid(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]
