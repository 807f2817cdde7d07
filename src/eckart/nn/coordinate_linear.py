"""A linear layer whose inputs lie in a subspace, trained in the coordinates of the subspace."""

import torch
from torch import Tensor, nn


class CoordinateLinear(nn.Module):
    r"""A linear layer on the coordinates of inputs in a subspace, which SGD trains exactly like the dense layer.

    With orthonormal rows V of the subspace an input is ``x = c V``, and ``W x = (W Vᵀ) c``: of W only M = W Vᵀ is seen.
    The gradient with respect to W is that with respect to M times V, so gradient descent, also with momentum, changes
    M as it changes W Vᵀ, and never what of W is outside the subspace: only a decay of the weights shrinks that, all of
    it by the same factor, which is a parameter here. Optimizers whose steps depend on the basis, such as Adam, train
    another layer than the dense one.

    Args:
        linear: The dense layer, ``n`` inputs and ``h`` outputs.
        components: Orthonormal rows V, shape ``(k, n)``, in the type and on the device of its weight.

    Attributes:
        coordinates: M, shape ``(h, k)``.
        bias: Shape ``(h,)``; None if ``linear`` has none.
        outside_factor: What the weight outside the subspace is multiplied by, a number; it is 1 without a decay.
        outside: The weight outside the subspace at the start, shape ``(h, n)``; it is not trained.

    Example:
        >>> linear, components = nn.Linear(5, 2), torch.eye(5)[:3]
        >>> layer = CoordinateLinear(linear, components)
        >>> c = torch.ones(1, 3)
        >>> torch.allclose(layer(c), linear(c @ components))
        True
    """

    def __init__(self, linear: nn.Linear, components: Tensor) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        coordinates = weight @ components.mT
        self.coordinates = nn.Parameter(coordinates)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self.outside_factor = nn.Parameter(torch.ones((), dtype=weight.dtype, device=weight.device))
        self.outside = nn.Parameter(weight - coordinates @ components, requires_grad=False)

    def forward(self, c: Tensor) -> Tensor:
        """Map coordinates ``(…, k)`` to ``(…, h)`` with ``h k`` multiplications per row."""
        # Its gradient is zero, and not none, so that the optimizer decays it.
        coordinates = self.coordinates + 0.0 * self.outside_factor
        return nn.functional.linear(c, coordinates, self.bias)

    def to_linear(self, components: Tensor) -> nn.Linear:
        """The dense layer: ``M V`` and what is outside, with the same outputs on the subspace.

        Args:
            components: Those that the layer was made from.

        Example:
            >>> linear, components = nn.Linear(5, 2), torch.eye(5)[:3]
            >>> again = CoordinateLinear(linear, components).to_linear(components)
            >>> torch.allclose(again.weight, linear.weight)
            True
        """
        factory = {"device": self.coordinates.device, "dtype": self.coordinates.dtype}
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None, **factory)
        with torch.no_grad():
            linear.weight.copy_(self.coordinates @ components + self.outside_factor * self.outside)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def extra_repr(self) -> str:
        """Describe the layer in the format of ``nn.Linear``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"coordinates={self.coordinates.shape[1]}, bias={self.bias is not None}"
        )
