"""Products with the Gram matrix of a large sparse matrix."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 8
"""Vectors whose products take the least time each: with more of them, what is gathered no longer fits the caches."""

# Blocks of rows, whose images stay in the caches between the two products of a Gram matrix.
_PARTS = 8


class SparseGram:
    """Products ``AᵀA x`` with a sparse matrix, by blocks of rows; images of the long side are never held as a whole.

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
        columns = x.double().mT.contiguous().numpy()
        threads = max(1, min(torch.get_num_threads(), len(self._parts)))
        shares = [self._parts[place::threads] for place in range(threads)]
        if threads == 1:
            return torch.from_numpy(_product(shares[0], columns)).mT.to(x)
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda parts: _product(parts, columns), shares))
        for other in found[1:]:
            found[0] += other
        return torch.from_numpy(found[0]).mT.to(x)


def _product(parts: list[Any], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros_like(columns)
    for first in range(0, columns.shape[1], BLOCK):
        some = np.ascontiguousarray(columns[:, first : first + BLOCK])
        for part in parts:
            total[:, first : first + BLOCK] += part.T @ (part @ some)
    return total
