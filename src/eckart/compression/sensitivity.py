"""What a rank of one layer adds to the loss of the model: predicted to second order, and measured."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.counting import call, calling_layers
from eckart.compression.interpolation import falling, some_ranks
from eckart.linalg.random import stream

# Outputs of a layer up to which their whole moment is kept.
LARGE = 8192


class NoLogits(ValueError):
    """The outputs of a model are not logits."""


def output_moments(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batches: Iterable[Any],
    *,
    forward: Callable[[nn.Module, Any], Any] = call,
    seed: int = 0,
) -> dict[str, Tensor]:
    r"""Second moments of the gradients at the outputs of layers: how much the loss minds an error there.

    The model's outputs are read as logits over their last dimension, and the labels are drawn from them. Then the
    moments are blocks of the Fisher information, and to second order a change ΔW of a layer adds
    ``½ tr(G ΔW C ΔWᵀ)`` to the loss, with C the second moment of the layer's inputs. Labels of the data would do as
    well where the model fits them, but not where it is wrong with confidence.

    The gradients of all places where a layer is applied to one sample (positions of a convolution, of a sequence) are
    summed as if they were independent, as in K-FAC.

    Args:
        model: Any module whose outputs are logits, shape ``(batch, …, classes)``. It runs in evaluation mode, in the
            precision that it has; the mode of each module is restored.
        layers: Modules of the model by their paths: convolutions, of outputs ``(batch, m, …)``, and others, of outputs
            ``(…, m)``.
        batches: Inputs of the model, a batch at a time.
        forward: Calls the model with a batch. By default it is a tensor, a tuple of arguments, or a mapping of keyword
            arguments.
        seed: Seed of the labels.

    Returns:
        Moment of each layer in float64, a sum over positions, a mean over samples: shape ``(m, m)``, or where m is more
        than ``LARGE`` its diagonal, ``(m,)``.

    Raises:
        ValueError: If there is no batch, outputs are not logits or not finite, a gradient is not finite, or a layer is
            never reached.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3))
        >>> moments = output_moments(net, {"0": net[0]}, [torch.ones(5, 2)])
        >>> moments["0"].shape, bool(moments["0"].sum().abs() < 1e-6)
        (torch.Size([3, 3]), True)

    References:
        Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate curvature, ICML 2015; Grosse &
        Martens, A Kronecker-factored approximate Fisher matrix for convolution layers, ICML 2016.
    """
    draw = stream(seed, "labels")
    gradients = _Gradients()
    samples = 0
    handles = [layer.register_forward_hook(gradients.at(path, layer)) for path, layer in layers.items()]
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        # The gradients at outputs are wanted, and none of the weights.
        for parameter in wanted:
            parameter.requires_grad_(False)
        with calling_layers(model), torch.enable_grad():
            for batch in batches:
                logits = _logits(forward(model, batch))
                flat = logits.reshape(-1, logits.shape[-1])
                labels = torch.multinomial(flat.detach().double().softmax(-1).cpu(), 1, generator=draw)[:, 0]
                loss = nn.functional.cross_entropy(flat, labels.to(flat.device), reduction="sum")
                torch.autograd.backward(loss)
                samples += len(logits)
    finally:
        for handle in handles:
            handle.remove()
        for parameter, value in wanted.items():
            parameter.requires_grad_(value)
    if not samples:
        raise ValueError("There must be at least one batch to measure the layers on. Found none.")
    return gradients.moments(layers, samples)


class _Gradients:
    """Sums of the second moments of the gradients at outputs."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def at(self, path: str, layer: nn.Module) -> Callable[..., Tensor | None]:
        channels_second = isinstance(layer, nn.modules.conv._ConvNd)

        def keep(gradient: Tensor) -> None:
            rows = gradient.movedim(1, -1) if channels_second and gradient.ndim > 2 else gradient
            rows = rows.reshape(-1, rows.shape[-1]).double()
            moment = rows.square().sum(0) if rows.shape[1] > LARGE else rows.mT @ rows
            self.sums[path] = self.sums.get(path, 0) + moment

        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            if output.requires_grad:
                output.register_hook(keep)
                return None
            # The first layer that is reached: nothing before it needs a gradient. A copy can be written to in place.
            leaf = output.detach().requires_grad_()
            leaf.register_hook(keep)
            return leaf.clone()

        return hook

    def moments(self, layers: Mapping[str, nn.Module], samples: int) -> dict[str, Tensor]:
        for path in layers:
            if path not in self.sums:
                raise ValueError(f"The inputs must reach each layer that is to be factorized. {path} is never reached.")
            if not torch.isfinite(self.sums[path]).all():
                raise ValueError(f"The gradients at the outputs of {path} must be finite. Found NaN or infinity.")
        return {path: self.sums[path] / samples for path in layers}


def predicted(contributions: Tensor) -> list[float]:
    """Losses at each rank, to second order: half of what is left out.

    Args:
        contributions: What each singular triplet contributes to ``tr(G W C Wᵀ)``, shape ``(r,)``: the squared singular
            values of ``G^½ W C^½``, where the layer is truncated in that metric.

    Returns:
        The losses at the ranks 1 to r; the last is 0.

    Example:
        >>> predicted(torch.tensor([9.0, 4.0, 1.0]))
        [2.5, 0.5, 0.0]
    """
    left_out = contributions.double().flip(0).cumsum(0).flip(0)
    return [*(left_out[1:] / 2).tolist(), 0.0]


def measured(
    loss: Callable[[], float],
    weights: Mapping[str, Tensor],
    truncated: Mapping[str, Callable[[int], Tensor]],
    largest: Mapping[str, int],
    *,
    count: int = 8,
) -> dict[str, list[float]]:
    """Losses at each rank, measured at some: one layer at a time is truncated, and the loss of the model is computed.

    Args:
        loss: Computes the loss of the model, such as a :class:`Divergence`.
        weights: Weight of each layer by its path. It is written to, and restored.
        truncated: Gives the weight of a rank, of the same shape.
        largest: Largest rank of each layer, where nothing is lost.
        count: About how many ranks of each layer are measured.

    Returns:
        For each layer the losses at the ranks 1 to its largest, nonincreasing, at least 0: monotone interpolation of
        the measured increases.

    Raises:
        ValueError: If a loss is not finite.

    Example:
        >>> weight = torch.diag(torch.tensor([4.0, 2.0]))
        >>> cut = torch.diag(torch.tensor([4.0, 0.0]))
        >>> measured(lambda: -float(weight.trace()), {"w": weight}, {"w": lambda rank: cut}, {"w": 2})
        {'w': [2.0, 0.0]}
        >>> weight.trace()
        tensor(6.)
    """
    base = _finite(loss(), "the dense model")
    found = {}
    for path, weight in weights.items():
        ranks = some_ranks(largest[path], count)
        dense = weight.detach().clone()
        values = []
        try:
            for rank in ranks[:-1]:
                with torch.no_grad():
                    weight.copy_(truncated[path](rank))
                values.append(_finite(loss(), f"the model with {path} at rank {rank}") - base)
        finally:
            with torch.no_grad():
                weight.copy_(dense)
        found[path] = falling(ranks, [*values, 0.0], largest[path]).tolist()
    return found


def _finite(value: float, of: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"The loss must be finite. Found {value} for {of}.")
    return value


class Divergence:
    """How far the outputs of a model are from what they were: the mean Kullback-Leibler divergence of a sample.

    It needs no labels. Its second derivatives are the Fisher information, so the predicted losses are approximations of
    it. It is 0 for the model that it was made from.

    Args:
        model: A module whose outputs are logits, shape ``(batch, …, classes)``. It runs in evaluation mode.
        batches: Inputs, a batch at a time. They are kept, with the outputs for them.
        forward: Calls the model with a batch, as of :func:`output_moments`.

    Raises:
        ValueError: If there is no batch, or outputs are not logits or not finite.

    Example:
        >>> net = nn.Linear(1, 2)
        >>> divergence = Divergence(net, [torch.ones(3, 1)])
        >>> with torch.no_grad():
        ...     divergence(), net.bias[0].add_(1).shape, divergence() > 0
        (0.0, torch.Size([]), True)
    """

    def __init__(
        self, model: nn.Module, batches: Iterable[Any], forward: Callable[[nn.Module, Any], Any] = call
    ) -> None:
        self.model, self.batches, self._forward = model, list(batches), forward
        if not self.batches:
            raise ValueError("There must be at least one batch to measure the layers on. Found none.")
        self.outputs = [_log_probabilities(outputs) for outputs in self._passes()]
        self.samples = sum(len(outputs) for outputs in self.outputs)

    def __call__(self) -> float:
        """The divergence of the model as it is now."""
        total = 0.0
        for before, outputs in zip(self.outputs, self._passes(), strict=True):
            after = _log_probabilities(outputs)
            total += float((before.exp() * (before - after)).sum())
        return total / self.samples

    def _passes(self) -> Iterator[Any]:
        with calling_layers(self.model), torch.no_grad():
            for batch in self.batches:
                yield self._forward(self.model, batch)


def _log_probabilities(logits: Any) -> Tensor:
    return _logits(logits).double().log_softmax(-1)


def _logits(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        found = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NoLogits(f"The model must give logits, shape (batch, …, classes). Found {found}.")
    if not torch.isfinite(outputs).all():
        raise ValueError("The outputs of the model must be finite. Found NaN or infinity.")
    return outputs
