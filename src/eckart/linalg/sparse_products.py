"""Products with a large sparse matrix and its Gram matrix."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 1
"""Vectors whose products take the least time each: of more of them, what is gathered no longer fits the caches."""

# Blocks of rows, which stay in the caches between the two products of a Gram matrix.
_PARTS = 8


class SparseGram:
    """Products ``A x`` and ``AᵀA x`` with a sparse matrix, by blocks of rows, one vector after the other.

    Of ``AᵀA x`` the images of the long side are never held as a whole.

    Args:
        matrix: In compressed rows, on the CPU, shape ``(m, n)``; its values are not copied.

    Example:
        >>> matrix = torch.tensor([[1.0, 2.0], [0.0, 3.0]], dtype=torch.float64).to_sparse_csr()
        >>> SparseGram(matrix)(torch.eye(2, dtype=torch.float64))
        tensor([[ 1.,  2.],
                [ 2., 13.]], dtype=torch.float64)
    """

    def __init__(self, matrix: Tensor) -> None:
        import scipy.sparse

        values = matrix.values().double().numpy()
        # Half of the bytes for the indices, where they are small enough.
        index = np.int32 if max(len(values), *matrix.shape) < 2**31 else np.int64
        starts, columns = (part.numpy().astype(index) for part in (matrix.crow_indices(), matrix.col_indices()))
        whole = scipy.sparse.csr_matrix((values, columns, starts), shape=tuple(matrix.shape), copy=False)
        ends = np.linspace(0, matrix.shape[0], _PARTS + 1).astype(int)
        self._parts = [whole[first:last] for first, last in itertools.pairwise(ends) if first < last]

    def __call__(self, x: Tensor) -> Tensor:
        """``x AᵀA`` of rows x, shape ``(N, n)`` to the same, float64."""
        rows = np.ascontiguousarray(x.double().numpy())

        def work(parts: list[Any]) -> NDArray[np.float64]:
            total = np.zeros_like(rows)
            for row, own in zip(rows, total, strict=True):
                for part in parts:
                    own += part.T @ (part @ row)
            return total

        found = self._shared(work)
        for other in found[1:]:
            found[0] += other
        return torch.from_numpy(found[0]).to(x)

    def images(self, x: Tensor) -> Tensor:
        """``x @ A.mT`` of rows x, shape ``(N, n)`` to ``(N, m)``, float64."""
        rows = np.ascontiguousarray(x.double().numpy())
        # Threads take parts in turns.
        found = self._shared(lambda parts: [np.stack([part @ row for row in rows]) for part in parts])
        turns = itertools.chain.from_iterable(itertools.zip_longest(*found))
        return torch.from_numpy(np.concatenate([part for part in turns if part is not None], axis=1)).to(x)

    def _shared(self, work: Callable[[list[Any]], Any]) -> list[Any]:
        """What work makes of the parts of each thread."""
        threads = max(1, min(torch.get_num_threads(), len(self._parts)))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, [self._parts[place::threads] for place in range(threads)]))


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a matrix in compressed rows, in compressed rows too, in time linear in the entries.

    Args:
        matrix: On the CPU, float32 or float64, shape ``(m, n)``.

    Example:
        >>> transposed(torch.tensor([[1.0, 2.0, 0.0]]).to_sparse_csr()).to_dense()
        tensor([[1.],
                [2.],
                [0.]])
    """
    import scipy.sparse

    parts = (part.numpy() for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices()))
    found = scipy.sparse.csr_matrix(tuple(parts), shape=tuple(matrix.shape)).T.tocsr()
    starts, columns = (torch.from_numpy(part).long() for part in (found.indptr, found.indices))
    return torch.sparse_csr_tensor(starts, columns, torch.from_numpy(found.data), size=found.shape)
