"""Layers of low rank, and the nets built of them. ``nn.Module`` only: nothing here knows how it is trained."""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lowrank.linalg import truncated_svd


class LowRankLinear(nn.Module):
    """Linear layer ``y = B A x + b`` with ``k (m + n)`` weights in place of ``m n``.

    Args:
        in_features: Length n of an input.
        out_features: Length m of an output.
        rank: Width k of the bottleneck, ``1 <= rank <= min(m, n)``.
        bias: Whether the layer adds a learned ``b``.
        device: Where the weights live.
        dtype: Type of the weights.

    Attributes:
        left: ``B``, shape ``(m, k)``.
        right: ``A``, shape ``(k, n)``.
        bias: ``b``, shape ``(m,)``, or None.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Example:
        >>> layer = LowRankLinear(10, 10, rank=2, bias=False)
        >>> sum(parameter.numel() for parameter in layer.parameters())
        40
        >>> layer(torch.ones(5, 10)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= rank <= min(in_features, out_features):
            limit = min(in_features, out_features)
            raise ValueError(f"The rank must satisfy 1 <= rank <= min(m, n) = {limit}. Found {rank}.")
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.left = nn.Parameter(torch.empty(out_features, rank, device=device, dtype=dtype))
        self.right = nn.Parameter(torch.empty(rank, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights so that outputs have the variance that ``nn.Linear`` starts with."""
        bound = 1 / math.sqrt(self.in_features)
        # Var(B A) = k Var(B) Var(A) is to be the 1/(3n) of nn.Linear's uniform weights.
        deviation = (1 / (3 * self.in_features * self.rank)) ** 0.25
        nn.init.normal_(self.left, std=deviation)
        nn.init.normal_(self.right, std=deviation)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_linear(cls, linear: nn.Linear, rank: int) -> "LowRankLinear":
        """Best layer of a given rank: the truncated SVD of the weight, split evenly, and the bias as it is.

        Example:
            >>> linear = nn.Linear(10, 10)
            >>> layer = LowRankLinear.from_linear(linear, rank=10)
            >>> x = torch.ones(10)
            >>> torch.allclose(layer(x), linear(x), atol=1e-5)
            True
        """
        weight = linear.weight.detach()
        layer = cls(linear.in_features, linear.out_features, rank, linear.bias is not None, weight.device, weight.dtype)
        u, s, vh = truncated_svd(weight, rank)
        with torch.no_grad():
            layer.left.copy_(u * s.sqrt())
            layer.right.copy_(s.sqrt()[:, None] * vh)
            if layer.bias is not None:
                layer.bias.copy_(linear.bias)
        return layer

    def to_linear(self) -> nn.Linear:
        """Dense layer with the same outputs.

        Example:
            >>> layer = LowRankLinear(3, 2, rank=1)
            >>> x = torch.ones(3)
            >>> torch.allclose(layer.to_linear()(x), layer(x))
            True
        """
        linear = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, self.left.device, self.left.dtype
        )
        with torch.no_grad():
            linear.weight.copy_(self.left @ self.right)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(…, n)`` to ``(…, m)`` in ``k (m + n)`` products a row."""
        return nn.functional.linear(nn.functional.linear(x, self.right), self.left, self.bias)

    def extra_repr(self) -> str:
        """Describe the layer as ``nn.Linear`` does."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, "
            f"bias={self.bias is not None}"
        )


class Bottleneck(nn.Module):
    """Stack of linear nets without bias or activation, one for each of J targets.

    The narrowest width is the rank of what the net can stand for: the product of its layers. Members of lower rank
    than the widest have zeros in the units beyond it.

    Args:
        widths: Units of each layer from the input n to the output m, at least three.
        bottleneck: Place in ``widths`` of the layer that holds the rank.
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
        self.weights = nn.ParameterList(
            torch.zeros(stack, after, before, dtype=dtype) for before, after in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch for each net, ``(J, batch, n)``, to ``(J, batch, m)``."""
        for weight in self.weights:
            x = x @ weight.mT
        return x

    def factors(self) -> tuple[Tensor, Tensor]:
        """What the nets stand for: ``left (J, m, k)`` and ``right (J, k, n)``."""
        weights = list(self.weights)
        return _product(weights[self.bottleneck :]), _product(weights[: self.bottleneck])

    @torch.no_grad()
    def assign(self, left: Tensor, right: Tensor) -> None:
        """Change the first and the last layer as little as possible so that the nets stand for ``left @ right``.

        The layers between stay as they are. To train the factors and lift them this way is to train those two layers
        in the scaled metric: the directions that differ between the two are those that do not change the product.
        """
        weights = list(self.weights)
        first, last = weights[0], weights[-1]
        if before := weights[1 : self.bottleneck]:
            product = _product(before)
            first += torch.linalg.pinv(product) @ (right - product @ first)
        else:
            first.copy_(right)
        if after := weights[self.bottleneck : -1]:
            product = _product(after)
            last += (left - last @ product) @ torch.linalg.pinv(product)
        else:
            last.copy_(left)

    @torch.no_grad()
    def regress(self, x: Tensor, images: Tensor, scale: float = 1.0) -> Tensor:
        """Least-squares loss ``½ scale ‖net(x) - images‖²`` of each net; leaves its gradient in the weights.

        The gradient is written out: for small nets autograd takes longer than the arithmetic.

        Args:
            x: A batch for each net, shape ``(J, batch, n)``.
            images: What they are to make of it, shape ``(J, batch, m)``.
            scale: One over the batch for a mean.

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
