"""A multilayer perceptron."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_count, require_one_of

_ACTIVATIONS = {"sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": nn.functional.gelu}


class MLP(nn.Module):
    """Multilayer perceptron.

    Args:
        widths: Units of each layer, from the inputs to the logits; at least two.
        activation: What stands between its layers: ``sigmoid``, ``relu`` or ``gelu``.

    Raises:
        ValueError: For fewer than two widths, one below 1, or an unknown activation.

    Example:
        >>> MLP([784, 500, 10])(torch.zeros(64, 784)).shape
        torch.Size([64, 10])
    """

    def __init__(self, widths: Sequence[int], activation: str = "sigmoid") -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths must be at least two, of the inputs and of the logits. Found {list(widths)}.")
        for width in widths:
            require_count("widths", width)
        require_one_of("activation", activation, tuple(_ACTIVATIONS))
        self.activation = activation
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs)``, or images of as many values, to logits ``(batch, classes)``."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = _ACTIVATIONS[self.activation](layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]
