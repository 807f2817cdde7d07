"""The lab's inner loop, compiled."""

import numba
import numpy as np
from numpy.typing import NDArray


# fastmath stays off: it would let the compiler fuse and reorder, and the iterates would no longer be the lab's.
@numba.njit(fastmath=False, nogil=True)  # type: ignore[misc]
def sweep(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    values: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    lr: float,
) -> None:
    """Pass once over the entries, updating ``u (m, k)`` and ``v (n, k)`` in place after each.

    Example:
        >>> u, v = np.array([[1.0]]), np.array([[1.0]])
        >>> sweep(np.array([0]), np.array([0]), np.array([3.0]), u, v, 0.5)
        >>> u, v
        (array([[2.]]), array([[3.]]))
    """
    for entry in range(len(values)):
        r, c = row[entry], col[entry]
        product = 0.0
        for j in range(u.shape[1]):
            product += u[r, j] * v[c, j]
        error = values[entry] - product
        for j in range(u.shape[1]):
            u[r, j] += lr * error * v[c, j]
        for j in range(u.shape[1]):
            v[c, j] += lr * error * u[r, j]
