"""A linear layer of low rank."""

import math

import torch
from torch import Tensor, nn

from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import truncated_factors


class LowRankLinear(nn.Module):
    """Linear layer ``y = B A x + b`` with ``k (m + n)`` weights instead of ``m n``.

    Args:
        in_features: Length n of an input.
        out_features: Length m of an output.
        rank: Width k of the bottleneck, ``1 <= rank <= min(m, n)``.
        bias: Whether the layer adds a learned ``b``.
        device: Device of the weights.
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
        check_rank(rank, (out_features, in_features))
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.left = nn.Parameter(torch.empty(out_features, rank, device=device, dtype=dtype))
        self.right = nn.Parameter(torch.empty(rank, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @property
    def weight(self) -> Tensor:
        """The dense weight ``B A``, computed from the factors, for code that reads it."""
        return self.left @ self.right

    def reset_parameters(self) -> None:
        """Draw the weights so that the outputs have the same variance as those of a new ``nn.Linear``."""
        if self.left.is_meta:
            # There is nothing to draw, and torch would import its compiler for it.
            return
        bound = 1 / math.sqrt(self.in_features)
        # Var(B A) = k Var(B) Var(A) must be 1/(3n), the variance of the uniform weights of nn.Linear.
        deviation = (1 / (3 * self.in_features * self.rank)) ** 0.25
        nn.init.normal_(self.left, std=deviation)
        nn.init.normal_(self.right, std=deviation)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_linear(cls, linear: nn.Linear, rank: int) -> "LowRankLinear":
        """Best layer of a given rank: the truncated SVD of the weight, in factors of equal singular values; same bias.

        Example:
            >>> linear = nn.Linear(10, 10)
            >>> layer = LowRankLinear.from_linear(linear, rank=10)
            >>> x = torch.ones(10)
            >>> torch.allclose(layer(x), linear(x), atol=1e-5)
            True
        """
        weight = linear.weight.detach()
        layer = cls(linear.in_features, linear.out_features, rank, linear.bias is not None, weight.device, weight.dtype)
        left, right = truncated_factors(weight, rank)
        with torch.no_grad():
            layer.left.copy_(left)
            layer.right.copy_(right)
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
            linear.weight.copy_(self.weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(…, n)`` to ``(…, m)`` with ``k (m + n)`` multiplications per row."""
        return nn.functional.linear(nn.functional.linear(x, self.right), self.left, self.bias)

    def extra_repr(self) -> str:
        """Describe the layer in the format of ``nn.Linear``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, "
            f"bias={self.bias is not None}"
        )
