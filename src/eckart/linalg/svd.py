"""Singular value decompositions and spectra, over leading batch dimensions."""

import torch
from torch import Tensor

from eckart.linalg.ranks import check_rank


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Best rank-``rank`` approximation of a matrix, in factored form.

    No matrix of rank at most ``rank`` is closer to ``matrix`` in the Frobenius or the spectral norm
    (Eckart-Young-Mirsky). The error ``(s[rank:] ** 2).sum()`` of the best approximation is
    the optimum with which every trained factorization of this package is compared.

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; leading dimensions are a batch.
        rank: Number of singular triplets kept, ``1 <= rank <= min(m, n)``.

    Returns:
        ``(u, s, vh)`` of shapes ``(..., m, rank)``, ``(..., rank)``, ``(..., rank, n)``, in the dtype and on the
        device of ``matrix``; ``s`` is nonnegative, nonincreasing and in the units of ``matrix``.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Note:
        Dense SVD, ``O(m n min(m, n))``. The signs of ``(u_i, vh_i)`` are arbitrary: compare products, not factors.

    Example:
        >>> matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
        >>> u, s, vh = truncated_svd(matrix, rank=2)
        >>> torch.linalg.matrix_norm(matrix - (u * s) @ vh)
        tensor(1.)

    References:
        Eckart & Young, Psychometrika 1(3), 1936.
    """
    check_rank(rank, matrix.shape)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u[..., :rank], s[..., :rank], vh[..., :rank, :]


def singular_values(matrix: Tensor) -> Tensor:
    r"""All singular values of a matrix, computed in a backward stable way.

    Each value, also a small one, is within a small multiple of ``eps * s_1`` of the exact one, unlike those of
    :func:`eckart.linalg.gram.gram_svd`. A matrix whose long side is at least twice its short side is first reduced to a
    triangle, one block of rows at a time, so that the extra memory does not grow with the long side.

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; leading dimensions are a batch.

    Returns:
        Shape ``(..., min(m, n))``, nonnegative, nonincreasing, in the units, the dtype and on the device of ``matrix``.

    Example:
        >>> singular_values(torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0], [4.0, 0.0]]))
        tensor([5., 2.])

    References:
        Demmel, Grigori, Hoemmen & Langou, SIAM J. Sci. Comput. 34(1), 2012 (QR of tall matrices by blocks).
    """
    m, n = matrix.shape[-2:]
    if m < n:
        return singular_values(matrix.mT)
    triangle = matrix
    if m >= 2 * n:
        rows = max(4 * n, 1024)
        triangle = matrix[..., :0, :]
        for start in range(0, m, rows):
            stacked = torch.cat([triangle, matrix[..., start : start + rows, :]], dim=-2)
            triangle = torch.linalg.qr(stacked, mode="r").R
    values: Tensor = torch.linalg.svdvals(triangle)
    return values


def factor_singular_values(left: Tensor, right: Tensor) -> Tensor:
    r"""Singular values of ``left @ right``, without forming the product.

    Both factors are reduced to triangles by QR, and the product of the triangles is decomposed. The error is a small
    multiple of ``eps * ||left|| * ||right||``.

    Args:
        left: Real floating point, shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``, in the dtype of ``left``; ``k`` may exceed ``m`` and ``n``.

    Returns:
        Shape ``(..., min(m, k, n))``, nonnegative, nonincreasing; all other singular values are zero.

    Example:
        >>> left, right = torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0, 0.0]])
        >>> factor_singular_values(left, right)
        tensor([10.])
    """
    column_triangle = torch.linalg.qr(left, mode="r").R
    row_triangle = torch.linalg.qr(right.mT, mode="r").R
    values: Tensor = torch.linalg.svdvals(column_triangle @ row_triangle.mT)
    return values


def factor_svd(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Singular value decomposition of ``left @ right``, without forming the product.

    Args:
        left: Real floating point, shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``, in the dtype of ``left``.

    Returns:
        ``(u, s, vh)`` of shapes ``(..., m, r)``, ``(..., r)``, ``(..., r, n)`` with ``r = min(m, k, n)``, as of
        :func:`truncated_svd`. Rows and columns of the product that are not known, NaN in the factors, count as zeros,
        and are NaN in ``u`` and ``vh``.

    Example:
        >>> u, s, vh = factor_svd(torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0, 0.0]]))
        >>> s, torch.allclose((u * s) @ vh, torch.tensor([[0.0, 6.0, 0.0], [0.0, 8.0, 0.0]]))
        (tensor([10.]), True)
    """
    no_row, no_col = left.isnan().any(-1, keepdim=True), right.isnan().any(-2, keepdim=True)
    q_left, triangle_left = torch.linalg.qr(left.masked_fill(no_row, 0))
    q_right, triangle_right = torch.linalg.qr(right.masked_fill(no_col, 0).mT)
    u, s, vh = torch.linalg.svd(triangle_left @ triangle_right.mT, full_matrices=False)
    return (q_left @ u).masked_fill(no_row, torch.nan), s, (vh @ q_right.mT).masked_fill(no_col, torch.nan)


def truncated_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of the truncated SVD, with equal singular values.

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; leading dimensions are a batch.
        rank: ``1 <= rank <= min(m, n)``.

    Returns:
        ``left (..., m, k)`` and ``right (..., k, n)``.

    Example:
        >>> left, right = truncated_factors(torch.diag(torch.tensor([4.0, 1.0])), rank=1)
        >>> left.abs(), right.abs()
        (tensor([[2.],
                [0.]]), tensor([[2., 0.]]))
    """
    u, s, vh = truncated_svd(matrix, rank)
    return u * s.sqrt()[..., None, :], s.sqrt()[..., :, None] * vh


def balance(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of the same product whose singular values are the square roots of those of the product.

    The product is not formed.

    Args:
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.

    Returns:
        ``(left, right)`` of the same shapes with ``left.mT @ left = right @ right.mT``, diagonal and nonincreasing.

    Example:
        >>> left, right = balance(torch.tensor([[8.0]]), torch.tensor([[2.0]]))
        >>> torch.equal(left.abs(), torch.tensor([[4.0]])), left @ right
        (True, tensor([[16.]]))
    """
    u, s, vh = factor_svd(left, right)
    root = s.sqrt()
    missing = left.shape[-1] - s.shape[-1]
    balanced = u * root[..., None, :], root[..., :, None] * vh
    # If k exceeds a side, there are fewer singular values than columns: the remaining columns are zero.
    pad = torch.nn.functional.pad
    return pad(balanced[0], (0, missing)), pad(balanced[1], (0, 0, 0, missing))
