"""Convolutions of low rank: two convolutions one after the other, with few channels between them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import truncated_factors


def unfolded(weight: Tensor, first: Sequence[int], groups: int = 1) -> Tensor:
    """Weight of a convolution as a matrix for each group: what the second convolution does by what the first one does.

    Args:
        weight: Shape ``(out, in / groups, *kernel)``.
        first: Axes of the kernel that the first convolution covers, from 0. All of them give the matrix
            out × in·kh·kw of the spatial SVD; ``(1,)`` gives kh·out × in·kw.
        groups: Groups of the convolution.

    Returns:
        Shape ``(m, n)``, or ``(groups, m, n)`` if there is more than one group.

    Example:
        >>> weight = torch.zeros(8, 4, 3, 5)
        >>> unfolded(weight, (0, 1)).shape, unfolded(weight, (1,)).shape
        (torch.Size([8, 60]), torch.Size([24, 20]))
    """
    axes = range(weight.dim() - 2)
    split = weight.reshape(groups, -1, *weight.shape[1:])
    second = [axis for axis in axes if axis not in first]
    order = [0, 1, *(3 + axis for axis in second), 2, *(3 + axis for axis in axes if axis in first)]
    rows = split.shape[1] * math.prod(weight.shape[2 + axis] for axis in second)
    matrix = split.permute(order).reshape(groups, rows, -1)
    return matrix if groups > 1 else matrix[0]


def folded(matrix: Tensor, shape: Sequence[int], first: Sequence[int], groups: int = 1) -> Tensor:
    """The inverse of :func:`unfolded`.

    Args:
        matrix: Shape ``(m, n)`` or ``(groups, m, n)``.
        shape: Shape of the weight.
        first: As of :func:`unfolded`.
        groups: As of :func:`unfolded`.

    Example:
        >>> weight = torch.arange(120.0).reshape(2, 4, 3, 5)
        >>> torch.equal(folded(unfolded(weight, (1,)), weight.shape, (1,)), weight)
        True
    """
    out, inputs, *kernel = shape
    second = [axis for axis in range(len(kernel)) if axis not in first]
    covered = [axis for axis in range(len(kernel)) if axis in first]
    sizes = [groups, out // groups, *(kernel[axis] for axis in second), inputs, *(kernel[axis] for axis in covered)]
    places = [0, 1, 2 + len(second)]
    places += [2 + second.index(a) if a in second else 3 + len(second) + covered.index(a) for a in range(len(kernel))]
    return matrix.reshape(sizes).permute(places).reshape(tuple(shape))


class _LowRankConv(nn.Module):
    """What convolutions of low rank of one and of two dimensions share; see :class:`LowRankConv2d`."""

    dims = 0
    dense: type[nn.Conv1d] | type[nn.Conv2d]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        rank: int,
        *,
        first: Sequence[int] | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        # The dense layer knows the laws of its arguments, and takes no memory on this device.
        settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        settings |= {"bias": bias, "padding_mode": padding_mode, "device": "meta", "dtype": dtype}
        shape: Any = kernel_size
        dense = self.dense(in_channels, out_channels, shape, **settings)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = dense.kernel_size, dense.stride, dense.dilation
        self.padding, self.padding_mode, self.rank = dense.padding, dense.padding_mode, rank
        self._sides = list(dense._reversed_padding_repeated_twice)
        self.first = tuple(range(self.dims)) if first is None else tuple(sorted(first))
        sides = unfolded(dense.weight, self.first, groups).shape
        check_rank(rank, sides)
        self.left = nn.Parameter(torch.empty(*sides[:-1], rank, device=device, dtype=dtype))
        self.right = nn.Parameter(torch.empty(*sides[:-2], rank, sides[-1], device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense weight, ``(out, in / groups, *kernel)``."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def weight(self) -> Tensor:
        """The dense weight, computed from the factors."""
        return folded(self.left @ self.right, self.shape, self.first, self.groups)

    def reset_parameters(self) -> None:
        """Draw the weights so that the outputs have the same variance as those of a new dense convolution."""
        if self.left.is_meta:
            # There is nothing to draw, and torch would import its compiler for it.
            return
        inputs = math.prod(self.shape[1:])
        deviation = (1 / (3 * inputs * self.rank)) ** 0.25
        nn.init.normal_(self.left, std=deviation)
        nn.init.normal_(self.right, std=deviation)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    @classmethod
    def like(cls, conv: Any, rank: int, first: Sequence[int] | None = None) -> "Any":
        """New layer with the sizes, strides, padding, groups, type and device of a dense one, and weights of its own.

        Args:
            conv: A dense convolution of the same number of dimensions.
            rank: The rank.
            first: As of the class.
        """
        return cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            rank,
            first=first,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )

    @classmethod
    def from_conv(cls, conv: Any, rank: int, first: Sequence[int] | None = None) -> "Any":
        """The best layer of a given rank: the truncated SVD of each group's matrix, in balanced factors; same bias.

        Args:
            conv: A dense convolution of the same number of dimensions.
            rank: The rank.
            first: As of the class.
        """
        layer = cls.like(conv, rank, first)
        left, right = truncated_factors(unfolded(conv.weight.detach(), layer.first, conv.groups), rank)
        with torch.no_grad():
            layer.left.copy_(left)
            layer.right.copy_(right)
            if layer.bias is not None:
                layer.bias.copy_(conv.bias)
        return layer

    def to_conv(self) -> Any:
        """Dense layer with the same outputs."""
        sizes = self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation
        kind = {"padding_mode": self.padding_mode, "device": self.left.device, "dtype": self.left.dtype}
        dense: Any = self.dense
        conv = dense(*sizes, self.groups, self.bias is not None, **kind)
        with torch.no_grad():
            conv.weight.copy_(self.weight)
            if self.bias is not None:
                conv.bias.copy_(self.bias)
        return conv

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in, *size)`` as the dense convolution does."""
        padding: list[Any] = [0] * self.dims
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._sides, mode)
        else:
            padding = list(self.padding)
        inputs, groups = self.in_channels // self.groups, self.groups
        second = [axis for axis in range(self.dims) if axis not in self.first]
        right = self.right.reshape(groups * self.rank, inputs, *self._kernel(self.first))
        left = self.left.reshape(self.out_channels, math.prod(self._kernel(second)), self.rank)
        left = left.transpose(1, 2).reshape(self.out_channels, self.rank, *self._kernel(second))
        x = self._conv(x, right, None, *self._steps(self.first, padding), groups)
        return self._conv(x, left, self.bias, *self._steps(second, padding), groups)

    def _kernel(self, axes: Sequence[int]) -> list[int]:
        return [size if axis in axes else 1 for axis, size in enumerate(self.kernel_size)]

    def _steps(self, axes: Sequence[int], padding: Sequence[int]) -> list[tuple[int, ...]]:
        """Stride, padding and dilation of the convolution that covers these axes; it leaves the others as they are."""
        values = ((self.stride, 1), (padding, 0), (self.dilation, 1))
        return [tuple(v if axis in axes else none for axis, v in enumerate(given)) for given, none in values]

    def _conv(self, *args: Any) -> Tensor:
        return F.conv1d(*args) if self.dims == 1 else F.conv2d(*args)

    def extra_repr(self) -> str:
        """Describe the layer in the format of the dense one."""
        axes = "".join("hw"[axis + 2 - self.dims] for axis in self.first)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, rank={self.rank}"
        text += f", first={axes or '1×1'}, stride={self.stride}"
        for name, usual in (("padding", (0,) * self.dims), ("dilation", (1,) * self.dims), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text + f", bias={self.bias is not None}"


class LowRankConv1d(_LowRankConv):
    """One-dimensional convolution of low rank; see :class:`LowRankConv2d`.

    Example:
        >>> layer = LowRankConv1d(4, 6, 3, rank=2)
        >>> layer(torch.ones(5, 4, 10)).shape
        torch.Size([5, 6, 8])
    """

    dims = 1
    dense = nn.Conv1d


class LowRankConv2d(_LowRankConv):
    """Convolution whose weight, as a matrix, has low rank: a convolution to ``k`` channels, then one from them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of the kernel, as of ``nn.Conv2d``.
        rank: Channels k between the two convolutions (of each group), ``1 <= rank <= min(m, n)``.
        first: Axes of the kernel that the first convolution covers; the second covers the others. All (None) is the
            spatial SVD of out × in·kh·kw: k filters of kh × kw, then 1 × 1. ``(1,)`` is the two-sided form
            kh·out × in·kw: k filters of 1 × kw, then kh × 1. ``()`` is 1 × 1 first.
        stride: As of ``nn.Conv2d``, like ``padding``, ``dilation``, ``groups`` and ``padding_mode``.
        padding: As of ``nn.Conv2d``.
        dilation: As of ``nn.Conv2d``.
        groups: Groups; each has a pair of factors of its own.
        bias: Whether the layer adds a learned bias.
        padding_mode: As of ``nn.Conv2d``.
        device: Device of the weights.
        dtype: Type of the weights.

    Attributes:
        left: Weights of the second convolution, ``(m, k)``, or ``(groups, m, k)`` if there is more than one group;
            ``m = out / groups`` times the kernel axes that are not in ``first``.
        right: Weights of the first, ``(k, n)`` or ``(groups, k, n)``; ``n = in / groups`` times the axes in ``first``.
        bias: Shape ``(out,)``, or None.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Example:
        >>> layer = LowRankConv2d(8, 16, 3, rank=2, padding=1, bias=False)
        >>> layer(torch.ones(5, 8, 6, 6)).shape
        torch.Size([5, 16, 6, 6])
        >>> sum(parameter.numel() for parameter in layer.parameters()) == 2 * (8 * 9 + 16)
        True

    References:
        Jaderberg, Vedaldi & Zisserman, BMVC 2014; Tai, Xiao, Zhang, Wang & E, ICLR 2016 (the two-sided form).
    """

    dims = 2
    dense = nn.Conv2d
