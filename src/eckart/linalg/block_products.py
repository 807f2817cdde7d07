"""What is computed of a block of a matrix where the block is: NumPy alone, for processes that hold no torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def images(block: Any, x: Array) -> Array:
    """Images ``A x`` of rows ``x (N, n)`` by a block ``(m, n)``, shape ``(N, m)``.

    Example:
        >>> images([[1.0, 2.0]], np.array([[1.0, 1.0]]))
        array([[3.]])
    """
    return x @ double(block).T


def transpose_images(block: Any, y: Array) -> Array:
    """Images ``Aᵀ y`` of rows ``y (N, m)``, shape ``(N, n)``."""
    return y @ double(block)


def gram_images(block: Any, x: Array) -> Array:
    """Images ``AᵀA x`` of rows ``x (N, n)``, of the same shape."""
    whole = double(block)
    return (x @ whole.T) @ whole


def squares(block: Any) -> Array:
    """The sum of the squares of the entries, shape ``()``; inf or nan where an entry is."""
    entries = double(block).ravel()
    return np.asarray(entries @ entries)


def residual_products(block: Any, left: Array, right: Array) -> tuple[Array, Array, Array]:
    """``‖E‖²``, ``E rightᵀ`` and ``leftᵀ E`` of ``E = left @ right - A``, computed entry by entry.

    Args:
        block: A, shape ``(m, n)``.
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.
    """
    residual = left @ right
    residual -= double(block)
    return squares(residual), residual @ right.T, left.T @ residual


def total(parts: Sequence[Array]) -> Array:
    """The sum of arrays, in the order in which they stand.

    Example:
        >>> total([np.ones(2), np.ones(2)])
        array([2., 2.])
    """
    found = parts[0].copy()
    for part in parts[1:]:
        found += part
    return found


def double(block: Any) -> Array:
    """A block as float64; not copied where it is that already."""
    return np.asarray(block, dtype=np.float64)
