"""Linear bottleneck nets: layers without bias or activation whose product has low rank."""

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Stack of linear nets without bias or activation, one for each of J targets.

    A net represents a matrix, the product of its layers, whose rank is at most the smallest width. A member whose rank
    is below that width has zeros in the remaining units.

    Args:
        widths: Units of each layer from the input n to the output m, at least three.
        bottleneck: Index in ``widths`` of the layer whose width is the rank.
        stack: Number of nets J.
        dtype: Type of the weights.

    Attributes:
        weights: Weight of each layer, shapes ``(J, widths[i + 1], widths[i])``.

    Example:
        >>> net = Bottleneck([4, 4, 2, 3], bottleneck=2, stack=5)
        >>> net(torch.ones(5, 7, 4)).shape
        torch.Size([5, 7, 3])
        >>> left, right = net.factors()
        >>> left.shape, right.shape
        (torch.Size([5, 3, 2]), torch.Size([5, 2, 4]))
    """

    def __init__(
        self, widths: Sequence[int], *, bottleneck: int, stack: int = 1, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.widths, self.bottleneck = list(widths), bottleneck
        self._inverses: dict[str, tuple[list[tuple[int, int]], tuple[Tensor, Tensor]]] = {}
        self.weights = nn.ParameterList(
            torch.zeros(stack, after, before, dtype=dtype) for before, after in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch for each net, ``(J, batch, n)``, to ``(J, batch, m)``."""
        for weight in self.weights:
            x = x @ weight.mT
        return x

    def factors(self) -> tuple[Tensor, Tensor]:
        """Factors of the product of the layers: ``left (J, m, k)`` and ``right (J, k, n)``."""
        weights = list(self.weights)
        return _product(weights[self.bottleneck :]), _product(weights[: self.bottleneck])

    @torch.no_grad()
    def assign(self, left: Tensor, right: Tensor) -> None:
        """Change the first and the last layer as little as possible so that their product is ``left @ right``.

        The other layers do not change. Training the factors and assigning them to the net this way is the same as
        training the first and the last layer in the scaled metric: the two differ only in directions that do not
        change the product.
        """
        weights = list(self.weights)
        first, last = weights[0], weights[-1]
        if before := weights[1 : self.bottleneck]:
            product, inverse = self._inverted("before", before)
            first.baddbmm_(inverse, torch.baddbmm(right, product, first, alpha=-1))
        else:
            first.copy_(right)
        if after := weights[self.bottleneck : -1]:
            product, inverse = self._inverted("after", after)
            last.baddbmm_(torch.baddbmm(left, last, product, alpha=-1), inverse)
        else:
            last.copy_(left)

    def _inverted(self, place: str, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        # A solver never changes these layers, and asks after each record.
        known = [(weight.data_ptr(), weight._version) for weight in weights]
        if place not in self._inverses or self._inverses[place][0] != known:
            product = _product(weights)
            self._inverses[place] = known, (product, torch.linalg.pinv(product))
        return self._inverses[place][1]

    @torch.no_grad()
    def regress(self, x: Tensor, images: Tensor, scale: float = 1.0) -> Tensor:
        """Least-squares loss ``½ scale ‖net(x) - images‖²`` of each net; leaves its gradient in the weights.

        The gradient is computed without autograd, which takes longer than the arithmetic for small nets.

        Args:
            x: A batch for each net, shape ``(J, batch, n)``.
            images: The outputs that the nets should have, shape ``(J, batch, m)``.
            scale: Factor on the loss; ``1 / batch`` gives the mean over the batch.

        Returns:
            The losses, shape ``(J,)``; ``weight.grad`` holds the gradient of their sum.

        Example:
            >>> net = Bottleneck([1, 1, 1], bottleneck=1)
            >>> for weight in net.weights:
            ...     _ = weight.data.fill_(2)
            >>> net.regress(torch.ones(1, 1, 1), torch.ones(1, 1, 1))
            tensor([4.5000])
            >>> [weight.grad.item() for weight in net.weights]
            [6.0, 6.0]
        """
        weights = list(self.weights)
        outputs = [x]
        for weight in weights:
            outputs.append(outputs[-1] @ weight.mT)
        residual = outputs[-1] - images
        downstream = residual * scale
        for layer in reversed(range(len(weights))):
            weights[layer].grad = downstream.mT @ outputs[layer]
            if layer > 0:
                downstream = downstream @ weights[layer]
        return residual.square().sum((1, 2)) * (scale / 2)


def _product(weights: Sequence[Tensor]) -> Tensor:
    return functools.reduce(lambda product, weight: weight @ product, weights)
