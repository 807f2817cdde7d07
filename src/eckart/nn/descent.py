"""Steps of gradient descent on a small sigmoid net, in place: a dozen products for each, and nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD

from eckart.nn.coordinate_linear import CoordinateLinear
from eckart.nn.mlp import MLP

# Settings of SGD that change its steps, or by which a user asks for an implementation of torch's.
_OTHERS = ("momentum", "dampening", "weight_decay", "nesterov", "maximize", "foreach", "differentiable", "fused")


def takes(optimizer: object, net: MLP) -> bool:
    """Whether the steps of an optimizer on a net are those of :func:`descend`: SGD without momentum or decay.

    Example:
        >>> net = MLP([3, 4, 2])
        >>> [takes(SGD(net.parameters(), momentum=momentum), net) for momentum in (0, 0.9)]
        [True, False]
    """
    if type(optimizer) is not SGD or len(optimizer.param_groups) != 1:
        return False
    (group,), weights = optimizer.param_groups, list(net.parameters())
    trained = [weight for layer in net.layers for weight in _weights(layer)]
    plain = net.activation == "sigmoid" and not any(group.get(name) for name in _OTHERS)
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    same = [id(weight) for weight in group["params"]] == [id(weight) for weight in weights]
    return (
        plain
        and same
        and not hooked
        and not isinstance(group["lr"], Tensor)
        and all(weight is not None and weight.requires_grad for weight in trained)
    )


@torch.no_grad()
def descend(net: MLP, x: Tensor, labels: Tensor, batch: int, rates: Sequence[float]) -> Tensor:
    """One step of gradient descent on the mean cross-entropy of each batch, one after the other.

    Args:
        net: A net of sigmoid units, whose layers have biases; the first one may be a :class:`CoordinateLinear`. Its
            weights are changed in place.
        x: What its first layer sees, shape ``(N, inputs)``.
        labels: Shape ``(N,)``.
        batch: Samples of a batch; the last one can have fewer.
        rates: Learning rate of each step.

    Returns:
        The loss of each batch before its step, shape ``(steps,)``.

    Example:
        >>> net, x, labels = MLP([3, 4, 2]), torch.ones(5, 3), torch.tensor([0, 1, 0, 1, 1])
        >>> expected = nn.functional.cross_entropy(net(x[:4]), labels[:4])
        >>> losses = descend(net, x, labels, 4, [0.1, 0.1])
        >>> torch.allclose(losses[0], expected), losses.shape
        (True, torch.Size([2]))
    """
    layers = [_weights(layer) for layer in net.layers]
    turned = [weight.mT for weight, _ in layers]
    # Samples are columns: products and the softmax take less time so.
    classes = nn.functional.one_hot(labels, len(layers[-1][1])).mT.to(x.dtype, memory_format=torch.contiguous_format)
    logarithms, width = torch.empty_like(classes), 0
    parts = (part.split(batch, dim=1) for part in (classes, logarithms))
    for own, known, logarithm, rate in zip(x.split(batch), *parts, rates, strict=True):
        if width != len(own):
            width = len(own)
            ones = x.new_ones(width)
            outputs = [x.new_empty(len(bias), width) for _, bias in layers]
            errors = [torch.empty_like(output) for output in outputs]
        inputs = [own.mT, *outputs[:-1]]
        for place, (weight, bias) in enumerate(layers):
            torch.addmm(bias[:, None], weight, inputs[place], out=outputs[place])
            if place < len(layers) - 1:
                outputs[place].sigmoid_()
        logarithm.copy_(torch.log_softmax(outputs[-1], 0, out=errors[-1]))
        # The gradient with respect to the logits: probabilities, less 1 for the class of the sample.
        errors[-1].exp_().sub_(known)
        for place in reversed(range(len(layers))):
            weight, bias = layers[place]
            if place:
                torch.mm(turned[place], errors[place], out=errors[place - 1])
            weight.addmm_(errors[place], inputs[place].mT, alpha=-rate / width)
            bias.addmv_(errors[place], ones, alpha=-rate / width)
            if place:
                torch.ops.aten.sigmoid_backward(errors[place - 1], inputs[place], grad_input=errors[place - 1])
    losses = -logarithms.gather(0, labels[None])[0]
    return torch.stack([part.mean() for part in losses.split(batch)])


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return layer.coordinates if isinstance(layer, CoordinateLinear) else layer.weight, layer.bias  # type: ignore[return-value]
