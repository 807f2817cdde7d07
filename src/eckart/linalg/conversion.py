"""Operators of arrays, sparse matrices, and whatever gives products by ``@``."""

from typing import Any

import torch
from torch import Tensor

from eckart.linalg.dask_blocks import DaskBlocks
from eckart.linalg.operators import Apply, Dense, MatrixFree, Operator, Sparse


def as_operator(matrix: Any) -> Operator:
    """The operator that an object stands for.

    Args:
        matrix: An operator; a tensor or an array ``(m, n)``; a sparse tensor or SciPy matrix; or anything that has a
            ``shape (m, n)`` and gives products by ``@``, such as a SciPy ``LinearOperator``. A dask array stays where
            its blocks are.

    Raises:
        TypeError: If it is none of these.

    Example:
        >>> as_operator([[1.0, 2.0], [3.0, 4.0]]).shape
        (2, 2)
    """
    import numpy as np

    if isinstance(matrix, Operator):
        return matrix
    if isinstance(matrix, list | tuple):
        matrix = np.asarray(matrix)
    if isinstance(matrix, Tensor):
        matrix = matrix if matrix.is_floating_point() else matrix.double()
        return Dense(matrix) if matrix.layout == torch.strided else Sparse(matrix)
    shape: Any = getattr(matrix, "shape", ())
    if len(shape) != 2:
        raise TypeError(f"An operator must have a shape (m, n). Found {type(matrix).__name__} of shape {tuple(shape)}.")
    if is_dask(matrix):
        return DaskBlocks(matrix)
    if isinstance(matrix, np.ndarray):
        return Dense(torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64)))
    if hasattr(matrix, "tocsr"):
        csr = matrix.tocsr()
        if not csr.has_canonical_format:
            # A copy: the matrix of the caller stays as it is.
            csr = csr.copy()
            csr.sum_duplicates()
        starts, columns = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in (csr.indptr, csr.indices))
        values = torch.from_numpy(np.asarray(csr.data, dtype=np.float64))
        return Sparse(torch.sparse_csr_tensor(starts, columns, values, size=(int(shape[0]), int(shape[1]))))
    if not hasattr(matrix, "__matmul__"):
        raise TypeError(f"An operator must give products by @. Found {type(matrix).__name__}.")

    def product(factor: Any) -> Apply:
        def apply(x: Tensor) -> Tensor:
            # SciPy's operators, and most others, take columns.
            found = factor @ x.cpu().numpy().T
            return torch.from_numpy(np.ascontiguousarray(np.asarray(found).T)).to(x)

        return apply

    adjoint = getattr(matrix, "H", None) if hasattr(matrix, "H") else getattr(matrix, "T", None)

    def transpose(y: Tensor) -> Tensor:
        try:
            return product(adjoint)(y)
        except (NotImplementedError, AttributeError, TypeError) as error:
            # SciPy calls what it was not given.
            raise ValueError("Images of the transpose need an operator that has one. Found none.") from error

    return MatrixFree(product(matrix), (int(shape[0]), int(shape[1])), transpose if adjoint is not None else None)


def is_dask(matrix: Any) -> bool:
    """Whether an object is a dask array, which must not be asked for its entries."""
    return type(matrix).__module__.startswith("dask.") and hasattr(matrix, "to_delayed")
