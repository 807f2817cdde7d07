"""Singular triplets from the eigenvectors of the smaller Gram matrix."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from eckart.linalg.ranks import check_rank

# Entries of the block of rows that is turned into double precision at once.
_BLOCK = 2**21
# Orders up to which all eigenvectors are as fast as some of them, and a general product as a symmetric one.
_SMALL = 256


def gram_svd(matrix: Tensor, rank: int, *, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
    r"""Leading singular triplets of a matrix, from the eigenvectors of its smaller Gram matrix.

    One product ``matrix.mT @ matrix`` (or ``matrix @ matrix.mT``, if that is smaller) replaces the dense SVD. The
    triplets are those of ``matrix`` restricted to the leading eigenvectors. So ``u`` and ``vh`` are orthonormal to
    roundoff for any spectrum, also with zero singular values, and the approximation has the least error that is
    possible with those eigenvectors.

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; leading dimensions are a batch.
        rank: Number of singular triplets kept, ``1 <= rank <= min(m, n)``.
        dtype: Type of the result; None for that of the matrix.

    Returns:
        ``(u, s, vh)`` as of :func:`eckart.linalg.svd.truncated_svd`.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Note:
        Everything is computed in double precision where the device has it, by blocks of rows: the matrix is not
        copied. The Gram matrix squares the spectrum: a singular value ``s_i`` is accurate to about
        ``eps * s_1 ** 2 / s_i``, and those below ``sqrt(eps) * s_1``, ``1e-8`` of the largest, are lost.
        ``O(m n min(m, n))`` like the dense SVD, but as fast as a matrix product, and with
        ``min(m, n) ** 2 + (m + n) * rank`` numbers of extra memory.

    Example:
        >>> matrix = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0], [4.0, 0.0]])
        >>> u, s, vh = gram_svd(matrix, rank=2)
        >>> s
        tensor([5., 2.])

    References:
        Golub & Van Loan, Matrix Computations, 4th ed., section 8.6.3.
    """
    check_rank(rank, matrix.shape)
    members = [_one(member, rank) for member in matrix.reshape(-1, *matrix.shape[-2:])]
    wanted = matrix.dtype if dtype is None else dtype
    u, s, vh = (
        torch.stack(parts).reshape(*matrix.shape[:-2], *parts[0].shape).to(wanted)
        for parts in zip(*members, strict=True)
    )
    return u, s, vh


def gram_matrix(matrix: Tensor) -> Tensor:
    """``matrix.mT @ matrix`` of one matrix, in double precision; the lower triangle alone is right.

    Args:
        matrix: Shape ``(m, n)``.

    Example:
        >>> gram_matrix(torch.tensor([[1.0], [2.0]]))
        tensor([[5.]], dtype=torch.float64)
    """
    cols = matrix.shape[1]
    double = matrix.dtype if matrix.device.type == "mps" else torch.float64
    if matrix.device.type != "cpu" or cols <= _SMALL:
        total = torch.zeros(cols, cols, dtype=double, device=matrix.device)
        for part in _blocks(matrix, double):
            total.addmm_(part.mT, part)
        return total
    from scipy.linalg.blas import dsyrk

    # A symmetric product takes half of the operations of a general one.
    sums = np.zeros((cols, cols), order="F")
    for part in _blocks(matrix, double):
        # A transposed view is read as it is stored.
        turned = part.stride(0) == 1
        array = part.numpy() if turned else part.contiguous().numpy().T
        sums = dsyrk(1.0, array, beta=1.0, c=sums, trans=int(turned), lower=1, overwrite_c=1)
    return torch.from_numpy(sums)


def leading_eigenpairs(gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a symmetric matrix, nonincreasing, and their eigenvectors as columns.

    Args:
        gram: Shape ``(n, n)``; its lower triangle is read.
        count: Number of pairs.

    Example:
        >>> leading_eigenpairs(torch.diag(torch.tensor([1.0, 3.0, 2.0]).double()), 2)[0]
        tensor([3., 2.], dtype=torch.float64)
    """
    size = len(gram)
    if gram.device.type != "cpu" or size <= _SMALL:
        values, vectors = torch.linalg.eigh(gram)
        return values[-count:].flip(0), vectors[:, -count:].flip(1)
    import scipy.linalg

    driver = "evr" if count <= size // 4 else "evx"
    # Scaled, because LAPACK's bisection has an absolute tolerance.
    scale = float(gram.diagonal().max())
    if not 0 < scale < math.inf:
        values, vectors = torch.linalg.eigh(gram)
        return values[-count:].flip(0), vectors[:, -count:].flip(1)
    found, turned = scipy.linalg.eigh(
        gram.numpy() / scale, lower=True, subset_by_index=[size - count, size - 1], driver=driver, check_finite=False
    )
    values, vectors = torch.from_numpy(found).flip(0) * scale, torch.from_numpy(turned).flip(1)
    defect = (vectors.mT @ vectors - torch.eye(count, dtype=vectors.dtype)).abs().max()
    return values, vectors if defect <= 1e-13 else torch.linalg.qr(vectors).Q


def restricted_svd(matrix: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular triplets of ``matrix @ vectors @ vectors.mT``, in the dtype of the vectors.

    Args:
        matrix: Shape ``(m, n)``.
        vectors: Orthonormal columns, shape ``(n, k)``.

    Example:
        >>> restricted_svd(torch.eye(3), torch.eye(3)[:, :2])[1]
        tensor([1., 1.])
    """
    # Rows times rows is the form in which narrow products are fastest.
    rows = vectors.mT.contiguous()
    images = torch.cat([(rows @ part.mT).mT for part in _blocks(matrix, vectors.dtype)])
    # QR in place of a division by s: the columns are orthonormal also where s is zero.
    basis, triangle = torch.linalg.qr(images)
    u, s, vh = torch.linalg.svd(triangle)
    return basis @ u, s, vh @ vectors.mT


def _blocks(matrix: Tensor, dtype: torch.dtype) -> Iterator[Tensor]:
    """Blocks of rows in another type, one after the other in the same memory; of the same type, the whole."""
    if matrix.dtype == dtype:
        yield matrix
        return
    rows, cols = matrix.shape
    step = min(rows, max(cols, _BLOCK // cols, 1))
    # One buffer: blocks of their own, between which something small is allocated, would never fit into freed memory.
    buffer = torch.empty(step, cols, dtype=dtype, device=matrix.device)
    for block in matrix.split(step):
        yield buffer[: len(block)].copy_(block)


def _one(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    if matrix.shape[0] < matrix.shape[1]:
        v, s, uh = _one(matrix.mT, rank)
        return uh.mT, s, v.mT
    return restricted_svd(matrix, leading_eigenpairs(gram_matrix(matrix), rank)[1])
