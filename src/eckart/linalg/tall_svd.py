"""Singular triplets of the images of singular vectors: many rows, few columns, nearly orthogonal."""

import torch
from torch import Tensor

# Columns above which an SVD of their triangle takes time.
_MANY = 64


def tall_svd(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition of a matrix with more rows than columns, by few passes over it.

    Where the columns, each divided by its norm, are nearly orthogonal, as those of ``A V`` are for singular vectors V,
    they are made orthonormal by a Cholesky factor; else by reflections. Many columns that are orthogonal up to the
    rounding of a Gram matrix are not decomposed at all: their norms are the values.

    Args:
        images: Shape ``(m, k)`` with ``m >= k``.

    Returns:
        ``(u, s, vh)``, shapes ``(m, k)``, ``(k,)`` and ``(k, k)``: u orthonormal to roundoff, also where a value is
        zero; s nonincreasing, to about ``eps * s_1 ** 2 / s_i``.

    Example:
        >>> u, s, vh = tall_svd(torch.tensor([[3.0, 0.0], [0.0, 2.0], [4.0, 0.0]]))
        >>> s
        tensor([5., 2.])

    References:
        Yamamoto, Nakatsukasa, Yanagisawa & Fukaya, Electron. Trans. Numer. Anal. 44, 2015.
    """
    square = images.mT @ images
    norms = square.diagonal().sqrt()
    unit = torch.eye(len(norms), dtype=images.dtype, device=images.device)
    # How far from orthogonal the columns are, each divided by its norm: NaN where one is zero.
    defect = square / norms / norms[:, None] - unit
    if not float(defect.abs().sum(0).max()) <= 0.1:
        # No division: the columns are orthonormal also where s is zero.
        basis, triangle = torch.linalg.qr(images)
        u, s, vh = torch.linalg.svd(triangle)
        return basis @ u, s, vh
    if len(norms) > _MANY and float(defect.norm()) <= 1e-5 and float((defect * norms).norm()) <= 1e-9 * norms.max():
        # The left vectors, but for a root that is near 1. An SVD of the triangle, which would take as long as all the
        # rest, would change rounding errors alone.
        root = unit - defect @ (unit / 2 - defect @ (0.375 * unit - 0.3125 * defect))
        order = norms.argsort(descending=True, stable=True)
        return images @ (root / norms[:, None])[:, order], norms[order], unit[order]
    lower = torch.linalg.cholesky(unit + defect)
    inverse = torch.linalg.solve_triangular(lower.mT, unit, upper=True) / norms[:, None]
    u, s, vh = torch.linalg.svd(lower.mT * norms)
    return images @ (inverse @ u), s, vh
