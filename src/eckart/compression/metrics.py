"""The metrics of inputs and outputs that the loss of a layer is taken in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.layers import Layer
from eckart.compression.moments import Moments
from eckart.linalg.whitened import loss_on_inputs
from eckart.nn.low_rank_conv import unfolded

TINY = torch.finfo(torch.float64).tiny
# Of the mean of a metric's diagonal, added to it.
DAMPING = 0.01


@dataclass(frozen=True)
class Metrics:
    """What an error ``D`` of a weight costs: ``tr(G D C Dᵀ)``.

    Attributes:
        moment: C, ``(n, n)`` or ``(groups, n, n)``; None for the identity.
        outputs: G, ``(m, m)`` or ``(groups, m, m)``, or diagonals; None for the identity.
        scales: What the loss of each module with the weight was multiplied by, for their sum.
    """

    moment: Tensor | None
    outputs: Tensor | None
    scales: list[float]

    def of_groups(self, groups: int) -> list[Tensor | None]:
        """G of each group, as a matrix."""
        if self.outputs is None:
            return [None] * groups
        outputs = self.outputs if groups > 1 else self.outputs[None]
        return list(outputs if outputs.dim() > 2 else torch.diag_embed(outputs))


def metrics_of(layer: Layer, moments: Sequence[Moments] | None, gradients: Sequence[Tensor] | None) -> Metrics:
    """The metrics of a layer.

    Args:
        layer: The layer.
        moments: Moments of the inputs of each of its modules; None for the weight alone.
        gradients: Second moments of the gradients at the outputs of each, or their diagonals; None where all outputs
            count alike. Layers with one weight are weighed by the mean of the diagonal.
    """
    several = len(layer.modules) > 1
    scales = [1.0] * len(layer.modules)
    if moments is None:
        return Metrics(None, None, scales)
    dense = layer.weight.detach().double()
    if not several and layer.kind == "embedding":
        # A row for each token, and its entries are the outputs.
        return Metrics(None if gradients is None else _full(gradients[0]), moments[0].mean(), scales)
    moment: Any = 0
    for place, (module, seen) in enumerate(zip(layer.modules, moments, strict=True)):
        gradient = None if gradients is None else gradients[place]
        if isinstance(module, nn.Embedding):
            # Beside another layer every token counts alike.
            eye = torch.eye(dense.shape[1], dtype=dense.dtype, device=dense.device)
            moment = moment + (eye / dense.square().sum() if gradient is None else _full(gradient) / len(dense))
            continue
        inputs = seen.second() if module._parameters.get("bias") is None else seen.covariance()
        if several and gradient is None:
            # Layers with one weight count alike, relative to their outputs.
            scales[place] = 1 / float(loss_on_inputs(as_matrix(layer, dense), inputs).sum().clamp(min=TINY))
        elif several and gradient is not None:
            scales[place] = float(_diagonal(gradient).mean())
        moment = moment + inputs * scales[place]
    return Metrics(moment, None if several or gradients is None else _damped(layer, gradients[0]), scales)


def as_matrix(layer: Layer, weight: Tensor) -> Tensor:
    """A weight like that of a layer as the matrix that the inputs of :func:`inputs_of` are multiplied with."""
    first = layer.forms()[0]
    return weight if first is None else unfolded(weight, first, layer.groups)


def _damped(layer: Layer, gradient: Tensor) -> Tensor:
    """A metric of the outputs, of each group; the mean over a sample says little of directions that it has not."""
    # Where the loss does not depend on a layer at all, any metric is as good, and its errors cost next to nothing.
    more = (DAMPING * _diagonal(gradient).mean()).clamp(min=1e-30)
    groups, size = layer.groups, len(gradient) // layer.groups
    if gradient.dim() == 1:
        return gradient + more if groups == 1 else (gradient + more).unflatten(0, (groups, size))
    metric = gradient + more * torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    if groups == 1:
        return metric
    return torch.stack([metric[g * size : (g + 1) * size, g * size : (g + 1) * size] for g in range(groups)])


def _diagonal(gradient: Tensor) -> Tensor:
    """Of a moment, or of one of which only the diagonal is known."""
    return gradient if gradient.dim() == 1 else gradient.diagonal()


def _full(gradient: Tensor) -> Tensor:
    return gradient.diag() if gradient.dim() == 1 else gradient
