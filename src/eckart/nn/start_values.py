"""Start values of low-rank layers; the dense weight that they stand for is never formed."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def spectral_factors(
    rows: int, cols: int, rank: int, *, deviation: float = 1.0, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Balanced factors of the best rank-``rank`` approximation of a matrix of independent normal entries.

    The matrix itself, rows × cols, is not drawn. Its singular vectors are independent of its singular values and
    uniformly distributed, so they come from the QR of two thin normal matrices; its singular values are those of a
    bidiagonal matrix of independent χ variables. So the factors have exactly the distribution of the truncated SVD.

    Args:
        rows: m.
        cols: n.
        rank: k, ``1 <= rank <= min(m, n)``.
        deviation: Standard deviation of an entry.
        generator: Where the numbers come from; on the CPU.

    Returns:
        ``left (m, k)`` and ``right (k, n)``, float64, with ``left.mT @ left = right @ right.mT``, diagonal and
        nonincreasing: the singular values.

    Example:
        >>> left, right = spectral_factors(40, 30, rank=30, generator=torch.Generator().manual_seed(0))
        >>> abs(float((left @ right).std()) - 1) < 0.05
        True

    References:
        Khodak, Tenenholtz, Mackey & Fusi, ICLR 2021 (spectral initialization). Dumitriu & Edelman, J. Math. Phys.
        43(11), 2002 (the bidiagonal matrix).
    """
    values = _normal_singular_values(rows, cols, rank, generator) * deviation
    bases = [_uniform_basis(side, rank, generator) for side in (rows, cols)]
    root = values.sqrt()
    return bases[0] * root, root[:, None] * bases[1].mT


def spectral(layer: Any, *, gain: float = 2.0, generator: torch.Generator) -> None:
    """Draw the factors of a layer as the truncated SVD of a dense weight of variance ``gain / inputs``; no bias.

    Args:
        layer: A :class:`~eckart.nn.low_rank_linear.LowRankLinear` or a low-rank convolution.
        gain: 2 keeps the variance of signals through ReLU units (He et al.), 1 through linear ones, and ⅓ is that of
            the uniform weights of a new ``nn.Linear``.
        generator: As of :func:`spectral_factors`.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> layer = LowRankLinear(30, 40, rank=3)
        >>> spectral(layer, generator=torch.Generator().manual_seed(0))
        >>> gram = layer.left.mT @ layer.left
        >>> torch.allclose(gram, torch.diag(gram.diag()), atol=1e-5), bool(layer.bias.any())
        (True, False)
    """
    m, rank, n = layer.left.shape[-2], layer.left.shape[-1], layer.right.shape[-1]
    pairs = [
        spectral_factors(m, n, rank, deviation=math.sqrt(gain / _inputs(layer)), generator=generator)
        for _ in range(math.prod(layer.left.shape[:-2]))
    ]
    _set(
        layer,
        *(
            torch.stack(values).reshape(factor.shape)
            for values, factor in zip(zip(*pairs, strict=True), (layer.left, layer.right), strict=True)
        ),
    )


def normal(layer: Any, *, gain: float = 2.0, generator: torch.Generator) -> None:
    """Draw the entries of both factors normal, so that those of their product have variance ``gain / inputs``; no bias.

    Args:
        layer: As of :func:`spectral`, as ``gain`` and ``generator`` are.
        gain: As of :func:`spectral`.
        generator: As of :func:`spectral`.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> layer = LowRankLinear(300, 400, rank=30)
        >>> normal(layer, gain=1.0, generator=torch.Generator().manual_seed(0))
        >>> abs(float((layer.left @ layer.right).detach().var()) * 300 - 1) < 0.1
        True
    """
    rank = layer.left.shape[-1]
    # The variance of an entry of W is k times that of left times that of right.
    deviation = (gain / (_inputs(layer) * rank)) ** 0.25
    shapes = (layer.left.shape, layer.right.shape)
    _set(layer, *(torch.randn(shape, generator=generator, dtype=torch.float64) * deviation for shape in shapes))


def _inputs(layer: Any) -> int:
    """Inputs of one output."""
    return int(layer.in_features if hasattr(layer, "in_features") else math.prod(layer.shape[1:]))


@torch.no_grad()
def _set(layer: Any, left: Tensor, right: Tensor) -> None:
    layer.left.copy_(left)
    layer.right.copy_(right)
    if getattr(layer, "bias", None) is not None:
        layer.bias.zero_()


def _normal_singular_values(rows: int, cols: int, rank: int, generator: torch.Generator) -> Tensor:
    from scipy.linalg import eigh_tridiagonal

    long, short = max(rows, cols), min(rows, cols)
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    diagonal = np.sqrt(draw.chisquare(np.arange(long, long - short, -1)))
    above = np.sqrt(draw.chisquare(np.arange(short - 1, 0, -1)))
    squares = diagonal**2
    squares[1:] += above**2
    leading = (short - rank, short - 1)
    values = eigh_tridiagonal(squares, diagonal[:-1] * above, eigvals_only=True, select="i", select_range=leading)
    return torch.from_numpy(np.sqrt(np.maximum(values[::-1], 0)))


def _uniform_basis(side: int, rank: int, generator: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(side, rank, dtype=torch.float64, generator=generator))
    # Of the QR, the one with a positive diagonal is the one that is uniformly distributed.
    return q * r.diagonal().sign()
