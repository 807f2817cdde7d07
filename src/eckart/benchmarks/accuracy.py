"""Errors of outcomes, in float64, against references that are computed without eckart."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def residual(matrix: NDArray[Any], left: ArrayLike, right: ArrayLike, *, rows: int = 4096) -> float:
    """``‖A − left @ right‖_F`` in float64, a block of rows at a time.

    Args:
        matrix: Shape ``(m, n)``.
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.
        rows: Rows of a block.

    Example:
        >>> residual(np.diag([2.0, 1.0]), [[1.0], [0.0]], [[2.0, 0.0]])
        1.0
    """
    first, second = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    total = 0.0
    for start in range(0, len(matrix), rows):
        block = np.asarray(matrix[start : start + rows], dtype=np.float64)
        total += float(np.square(block - first[start : start + rows] @ second).sum())
    return float(np.sqrt(total))


def excess(matrix: NDArray[Any], left: ArrayLike, right: ArrayLike, values: NDArray[np.float64]) -> float:
    """How far the Frobenius error of ``left @ right`` is above that of the best approximation, relative to the latter.

    Args:
        matrix: Shape ``(m, n)``.
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.
        values: All singular values of the matrix, nonincreasing, or those beyond the rank k alone if ``k`` are missing.

    Example:
        >>> excess(np.diag([2.0, 1.0]), [[0.0], [1.0]], [[0.0, 1.0]], np.array([2.0, 1.0]))
        1.0
    """
    rank = np.shape(left)[1]
    optimum = float(np.sqrt(np.square(values[rank:]).sum()))
    return abs(residual(matrix, left, right) / optimum - 1)


def worst_residual(matrix: Any, left: ArrayLike, values: ArrayLike, right: ArrayLike) -> float:
    """The largest ``‖Aᵀuᵢ − sᵢvᵢ‖`` and ``‖A vᵢ − sᵢuᵢ‖``, relative to the largest singular value.

    Args:
        matrix: Dense or sparse, shape ``(m, n)``.
        left: ``u``, shape ``(m, k)``.
        values: ``s``, shape ``(k,)``.
        right: ``vᵀ``, shape ``(k, n)``.

    Example:
        >>> worst_residual(np.diag([2.0, 1.0]), [[1.0], [0.0]], [2.0], [[1.0, 0.0]])
        0.0
    """
    u, s, v = (np.asarray(part, dtype=np.float64) for part in (left, values, right))
    first, second = matrix.T @ u - v.T * s, matrix @ v.T - u * s
    return float(max(np.linalg.norm(part, axis=0).max() for part in (first, second)) / s.max())
