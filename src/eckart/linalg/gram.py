"""Singular triplets from the eigenvectors of the smaller Gram matrix."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.linalg.ranks import check_rank
from eckart.linalg.row_threads import over_rows, threads, workers
from eckart.linalg.tall_svd import tall_svd

# Entries of the block of rows that is turned into another type at once.
_BLOCK = 2**21
# Orders up to which all eigenvectors are as fast as some of them, and a general product as a symmetric one.
_SMALL = 256
# Integers at most so far from a common one, and rows of them whose products float32 adds exactly: 128² · 1024 = 2²⁴.
_SPAN, _EXACT_ROWS = 128, 1024
# Columns of a part of the lower triangle at least, and sides up to which each worker has sums of its own.
_PART, _WIDE = 32, 2048
# Rows that tell whether a matrix may be one of integers.
_FEW = 8
# Entries of a converted block that stays in the cache of a core.
_CACHED = 2**16
# Columns that LAPACK takes at once, and its own room.
_PANEL, _ROOM = 64, 65 * 64


def gram_svd(matrix: Tensor, rank: int, *, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
    r"""Leading singular triplets of a matrix, from the eigenvectors of its smaller Gram matrix.

    One product ``matrix.mT @ matrix`` (or ``matrix @ matrix.mT``, if that is smaller) replaces the dense SVD. The
    triplets are those of ``matrix`` restricted to the leading eigenvectors. So ``u`` and ``vh`` are orthonormal to
    roundoff for any spectrum, also with zero singular values, and the approximation has the least error that is
    possible with those eigenvectors.

    Args:
        matrix: Real floating point or integers, shape ``(..., m, n)``; leading dimensions are a batch.
        rank: Number of singular triplets kept, ``1 <= rank <= min(m, n)``.
        dtype: Type of the result; None for that of the matrix, float64 for integers.

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
    wanted = dtype or (matrix.dtype if matrix.is_floating_point() else torch.float64)
    u, s, vh = (
        torch.stack(parts).reshape(*matrix.shape[:-2], *parts[0].shape).to(wanted)
        for parts in zip(*members, strict=True)
    )
    return u, s, vh


def gram_matrix(matrix: Tensor) -> Tensor:
    """``matrix.mT @ matrix`` of one matrix, in double precision; the lower triangle alone is right.

    Of integers within a span of 256, such as the pixels of images in whatever type, it is exact: float32 holds the
    products of 1024 rows without rounding, in half of the time, and they are added up in float64.

    Args:
        matrix: Shape ``(m, n)``, floating point or integers.

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
    if matrix.is_floating_point() and not torch.equal(matrix[:_FEW], matrix[:_FEW].round()):
        return _symmetric_product(matrix)
    sums = _Sums(matrix)
    over_rows(matrix, _EXACT_ROWS, sums.add, sums.threads)
    return sums.total()


def leading_eigenpairs(gram: Tensor, count: int, *, every: bool = False) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a symmetric matrix, nonincreasing, and their eigenvectors as columns.

    Args:
        gram: Shape ``(n, n)``; its lower triangle is read.
        count: Number of eigenvectors.
        every: Whether all eigenvalues are given, from the same reduction to a tridiagonal matrix.

    Example:
        >>> values, vectors = leading_eigenpairs(torch.diag(torch.tensor([1.0, 3.0, 2.0]).double()), 2, every=True)
        >>> values, vectors.abs()
        (tensor([3., 2., 1.], dtype=torch.float64), tensor([[0., 0.],
                [1., 0.],
                [0., 1.]], dtype=torch.float64))
    """
    values, vectors = _eigenpairs(gram, count, every)
    return values if every else values[:count], vectors


def _eigenpairs(gram: Tensor, count: int, every: bool) -> tuple[Tensor, Tensor]:
    size = len(gram)
    # Scaled, because LAPACK's bisection has an absolute tolerance.
    scale = float(gram.diagonal().max())
    if gram.device.type != "cpu" or size <= _SMALL or not 0 < scale < math.inf:
        with threads(one=size <= _SMALL):
            values, vectors = torch.linalg.eigh(gram)
        return values.flip(0), vectors[:, -count:].flip(1)
    from scipy.linalg import eigh, eigh_tridiagonal, eigvalsh_tridiagonal
    from scipy.linalg.lapack import dormqr, dsytrd

    scaled = np.asfortranarray(gram.double().numpy() / scale)
    if count > size // 4:
        found, turned = eigh(scaled, lower=True, driver="evd", check_finite=False, overwrite_a=True)
        return torch.from_numpy(found).flip(0) * scale, torch.from_numpy(turned[:, -count:]).flip(1)
    if not every:
        chosen = [size - count, size - 1]
        found, turned = eigh(
            scaled, lower=True, subset_by_index=chosen, driver="evr", check_finite=False, overwrite_a=True
        )
        return torch.from_numpy(found).flip(0) * scale, _orthonormal(turned[:, ::-1].copy())
    # A lower triangle becomes Q T Qᵀ, with the reflectors of Q below the diagonal of T.
    packed, diagonal, beside, factors, _ = dsytrd(scaled, lower=1, lwork=_PANEL * size, overwrite_a=1)
    whole = eigvalsh_tridiagonal(diagonal, beside, lapack_driver="sterf", check_finite=False)
    _, turned = eigh_tridiagonal(
        diagonal,
        beside,
        select="i",
        select_range=(size - count, size - 1),
        lapack_driver="stebz",
        check_finite=False,
    )
    turned = turned[:, ::-1].copy(order="F")
    turned[1:], _, _ = dormqr("L", "N", packed[1:, :-1], factors, turned[1:], lwork=_PANEL * count + _ROOM)
    return torch.from_numpy(whole).flip(0) * scale, _orthonormal(turned)


def _orthonormal(turned: NDArray[np.float64]) -> Tensor:
    from scipy.linalg.blas import dsyrk

    # Threads of torch would share the cores with those of SciPy, which go on waiting for work.
    defect = np.abs(np.triu(dsyrk(1.0, turned, trans=1)) - np.eye(turned.shape[1])).max()
    vectors = torch.from_numpy(turned)
    return vectors if defect <= 1e-13 else torch.linalg.qr(vectors).Q


def restricted_svd(matrix: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular triplets of ``matrix @ vectors @ vectors.mT``, in the dtype of the vectors.

    Args:
        matrix: Shape ``(m, n)``.
        vectors: Orthonormal columns, shape ``(n, k)``.

    Example:
        >>> restricted_svd(torch.eye(3), torch.eye(3)[:, :2])[1]
        tensor([1., 1.])
    """
    images = _images(matrix, vectors)
    # Threads of torch would share the cores with those of SciPy, which go on waiting for work.
    with threads(one=images.device.type == "cpu" and images.numel() <= _BLOCK):
        u, s, vh = tall_svd(images)
        return u, s, vh @ vectors.mT


def _symmetric_product(matrix: Tensor) -> Tensor:
    """The lower triangle of ``matrix.mT @ matrix``, by half of the operations of a general product."""
    from scipy.linalg.blas import dsyrk

    cols = matrix.shape[1]
    sums = np.zeros((cols, cols), order="F")
    for part in _blocks(matrix, torch.float64):
        # A transposed view is read as it is stored.
        turned = part.stride(0) == 1
        array = part.numpy() if turned else part.contiguous().numpy().T
        sums = dsyrk(1.0, array, beta=1.0, c=sums, trans=int(turned), lower=1, overwrite_c=1)
    return torch.from_numpy(sums)


def _images(matrix: Tensor, vectors: Tensor) -> Tensor:
    if matrix.device.type == "cpu" and matrix.dtype == vectors.dtype == torch.float64 and matrix.shape[1] > _SMALL:
        from scipy.linalg.blas import dgemm

        if matrix.stride(0) == 1:
            return torch.from_numpy(dgemm(1.0, matrix.numpy(), vectors.numpy()))
        return torch.from_numpy(dgemm(1.0, vectors.numpy(), matrix.contiguous().numpy().T, trans_a=1).T)
    if matrix.device.type != "cpu" or matrix.dtype == vectors.dtype:
        return torch.cat([part @ vectors for part in _blocks(matrix, vectors.dtype)])
    rows, cols = matrix.shape
    count, step = workers(matrix), min(rows, max(1, _CACHED // cols))
    buffers = [vectors.new_empty(step, cols) for _ in range(count)]
    images = vectors.new_empty(rows, vectors.shape[1])

    def work(worker: int, place: slice) -> None:
        block = buffers[worker][: place.stop - place.start].copy_(matrix[place])
        torch.mm(block, vectors, out=images[place])

    over_rows(matrix, step, work, count)
    return images


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


class _Sums:
    """The lower triangle of a Gram matrix, added up by several workers in parts of its rows.

    Blocks of integers, each within ``_SPAN`` of a center that all have in common, are multiplied in float32, less the
    center: no product and no sum of ``_EXACT_ROWS`` of them is rounded. Others are multiplied in float64.

    Args:
        matrix: Shape ``(m, n)``, on the CPU.
    """

    def __init__(self, matrix: Tensor) -> None:
        self._matrix, cols = matrix, matrix.shape[1]
        # Large products keep the threads of the library busy, and their sums are large.
        self.threads = workers(matrix) if cols <= _WIDE else 1
        count = -(-cols // max(_PART, cols // 12))
        cuts = [cols * part // count for part in range(count + 1)]
        self._parts = list(itertools.pairwise(cuts))
        self._bytes = matrix.dtype in (torch.uint8, torch.int8)
        low, high = (float(end) for end in matrix[:_EXACT_ROWS].aminmax())
        # The integers themselves must be such of float32, too.
        self._center = None
        if self._bytes:
            self._center = float(_SPAN * (matrix.dtype == torch.uint8))
        elif high - low <= 2 * _SPAN and abs(low) <= 2**23:
            self._center = (low + high + 1) // 2
        most = min(len(matrix), _EXACT_ROWS)
        self._buffers = [torch.empty(most, cols, dtype=torch.float64) for _ in range(self.threads)]
        self._sums = [torch.zeros(cols, cols, dtype=torch.float64) for _ in range(self.threads)]
        self._columns = torch.zeros(self.threads, cols, dtype=torch.float64)
        self.shifted = [0] * self.threads

    def add(self, worker: int, place: slice) -> None:
        """Add the products of a block of rows."""
        rows, total = self._matrix[place], self._sums[worker]
        if (block := self._integers(rows, self._buffers[worker])) is not None:
            for start, stop in self._parts:
                total[start:stop, :stop] += block[:, start:stop].mT @ block[:, :stop]
            self._columns[worker] += block.sum(0)
            self.shifted[worker] += len(block)
            return
        block = rows if rows.dtype == total.dtype else self._buffers[worker][: len(rows)].copy_(rows)
        for start, stop in self._parts:
            total[start:stop, :stop].addmm_(block[:, start:stop].mT, block[:, :stop])

    def _integers(self, rows: Tensor, buffer: Tensor) -> Tensor | None:
        """A block less the center, in float32; None where it has others than small integers."""
        if self._center is None or (rows.is_floating_point() and not torch.equal(rows, rows.round())):
            return None
        # In the memory of the buffer.
        block = buffer.view(torch.float32).flatten()[: rows.numel()].view(rows.shape)
        block.copy_(rows).sub_(self._center)
        low, high = (0.0, 0.0) if self._bytes else (float(end) for end in block.aminmax())
        return block if max(-low, high) <= _SPAN else None

    def total(self) -> Tensor:
        """The sums of all workers."""
        total = self._sums[0]
        for other in self._sums[1:]:
            total += other
        if self._center:
            columns = self._center * self._columns.sum(0)
            total += columns + columns[:, None] + sum(self.shifted) * self._center**2
        return total


def _one(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    if matrix.shape[0] < matrix.shape[1]:
        v, s, uh = _one(matrix.mT, rank)
        return uh.mT, s, v.mT
    return restricted_svd(matrix, leading_eigenpairs(gram_matrix(matrix), rank)[1])
