"""Adam on linear nets, compiled: whole runs of steps, one member of a stack after the other."""

import numpy as np
from numpy.typing import NDArray

# Each loop over the samples of a batch is innermost and over contiguous numbers, so the compiler vectorizes it.


def train_nets(
    weights: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    losses: NDArray[np.floating],
    layers: NDArray[np.int64],
    places: NDArray[np.int64],
    own: NDArray[np.int64],
    members: NDArray[np.int64],
    sets: NDArray[np.int64],
    inputs: NDArray[np.floating],
    outputs: NDArray[np.floating],
    orders: NDArray[np.int64],
    batch: int,
    rates: NDArray[np.float64],
    roots: NDArray[np.float64],
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> None:
    """Train linear nets ``y = W_L ⋯ W_1 x`` on their mean squared error by Adam, one step for each batch.

    The arithmetic is that of ``torch.optim.Adam`` on the gradient of ``½ mean ‖W_L ⋯ W_1 x - y‖²``, to rounding. A
    member's numbers do not depend on the others, nor on how the steps are divided among calls.

    Args:
        weights: All weights of each net, layer after layer in row-major order, shape ``(J, P)``; changed in place.
        first: Adam's running means of the gradients, likewise.
        second: Adam's running means of their squares, likewise.
        losses: Receives the loss of each net on the last batch, before its step, shape ``(J,)``.
        layers: Widths that the weights are stored with, from the input to the output, shape ``(L + 1,)``.
        places: Which of them is the bottleneck, shape ``(1,)``.
        own: Width of the bottleneck of each net, at most the stored one; what is beyond is zero and stays so. ``(J,)``
        members: Nets that are trained.
        sets: Which of the sets of inputs each net learns from, shape ``(J,)``.
        inputs: Shape ``(S, N, n)``.
        outputs: What each net is to make of its inputs, shape ``(J, N, m)``.
        orders: Inputs in the order of the batches, of each set, shape ``(S, M)``; after the last batch comes the first.
        batch: Inputs of a batch; the last one can have fewer.
        rates: Learning rate of each step, divided by ``1 - beta_1 ** step``.
        roots: ``(1 - beta_2 ** step) ** 0.5`` of each step.
        betas: Adam's two decay rates.
        eps: Added to the denominator.
        decay: Weight decay, added to the gradient.

    Example:
        >>> net, mean, square, loss = np.full((1, 2), 2.0), np.zeros((1, 2)), np.zeros((1, 2)), np.zeros(1)
        >>> widths, place, own, first = np.array([1, 1, 1]), np.array([1]), np.array([1]), np.array([0])
        >>> data = first, np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.array([[0]])
        >>> settings = 1, np.array([1.0]), np.array([0.1**0.5]), (0.9, 0.9), 0.0, 0.0
        >>> train_nets(net, mean, square, loss, widths, place, own, first, *data, *settings)
        >>> loss.item(), net.round(3).tolist()
        (4.5, [[1.9, 1.9]])
    """
    count, total = len(layers) - 1, orders.shape[1]
    kind, widest = weights.dtype.type, layers.max()
    widths, starts = layers.copy(), np.zeros(count + 1, np.int64)
    values = np.empty((layers.sum(), batch), weights.dtype)
    ahead, behind = np.empty((widest, batch), weights.dtype), np.empty((widest, batch), weights.dtype)
    gradient = np.zeros(weights.shape[1], weights.dtype)
    for layer in range(count):
        starts[layer + 1] = starts[layer] + layers[layer] * layers[layer + 1]
    keep, new = kind(betas[0]), kind(1 - betas[0])
    keep_square, new_square = kind(betas[1]), kind(1 - betas[1])
    for member in members:
        widths[places[0]] = own[member]
        x, y, order = inputs[sets[member]], outputs[member], orders[sets[member]]
        w, mean, square = weights[member], first[member], second[member]
        gradient[:] = 0
        for step in range(len(rates)):
            begin = step * batch % total
            size = min(batch, total - begin)
            for b in range(size):
                for i in range(widths[0]):
                    values[i, b] = x[order[begin + b], i]
            top = 0
            for layer in range(count):
                fan, wide, base, result = widths[layer], layers[layer], starts[layer], top + layers[layer]
                for o in range(widths[layer + 1]):
                    out = values[result + o]
                    for b in range(size):
                        out[b] = 0
                    for i in range(fan):
                        c, h = w[base + o * wide + i], values[top + i]
                        for b in range(size):
                            out[b] += c * h[b]
                top = result
            scale, loss = kind(1 / size), kind(0)
            for b in range(size):
                for o in range(widths[count]):
                    residual = values[top + o, b] - y[order[begin + b], o]
                    loss += residual * residual
                    ahead[o, b] = residual * scale
            losses[member] = loss * scale / 2
            for layer in range(count - 1, -1, -1):
                fan, wide, base, outs = widths[layer], layers[layer], starts[layer], widths[layer + 1]
                top -= wide
                for o in range(outs):
                    d = ahead[o]
                    for i in range(fan):
                        h, slope = values[top + i], kind(0)
                        for b in range(size):
                            slope += d[b] * h[b]
                        gradient[base + o * wide + i] = slope
                if layer > 0:
                    for i in range(fan):
                        out = behind[i]
                        for b in range(size):
                            out[b] = 0
                        for o in range(outs):
                            c, d = w[base + o * wide + i], ahead[o]
                            for b in range(size):
                                out[b] += c * d[b]
                    ahead, behind = behind, ahead
            rate, root, small, shrink = kind(rates[step]), kind(roots[step]), kind(eps), kind(decay)
            for p in range(len(w)):
                g = gradient[p] + shrink * w[p]
                mean[p] = keep * mean[p] + new * g
                square[p] = keep_square * square[p] + new_square * g * g
                w[p] -= rate * mean[p] / (np.sqrt(square[p]) / root + small)
