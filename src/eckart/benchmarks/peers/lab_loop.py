"""The lab's gradient descent over single entries: in tensors as the lab writes it, and in plain numbers."""

from typing import Any

import torch


def tensors(matrix: Any, mask: Any, left: Any, right: Any, epochs: int, lr: float = 0.01) -> tuple[Any, Any]:
    """One pass after another over the observed entries in row-major order, with tensors of torch.

    Args:
        matrix: Shape ``(m, n)``.
        mask: Which entries are observed.
        left: ``U``, shape ``(m, k)``.
        right: ``V``, shape ``(n, k)``.
        epochs: Number of passes.
        lr: Learning rate.

    Returns:
        New ``U`` and ``V``.
    """
    a, m = torch.as_tensor(matrix), torch.as_tensor(mask)
    u, v = torch.tensor(left), torch.tensor(right)
    for _ in range(epochs):
        for r in range(a.shape[0]):
            for c in range(a.shape[1]):
                if m[r, c]:
                    e = a[r, c] - u[r] @ v[c].T
                    u[r] += lr * e * v[c]
                    v[c] += lr * e * u[r]
    return u.numpy(), v.numpy()


def numbers(matrix: Any, mask: Any, left: Any, right: Any, epochs: int, lr: float = 0.01) -> tuple[Any, Any]:
    """The same with lists of Python's numbers; arguments as of :func:`tensors`."""
    import numpy as np

    places = [(int(r), int(c), float(matrix[r, c])) for r, c in np.argwhere(mask)]
    u, v = np.asarray(left).tolist(), np.asarray(right).tolist()
    for _ in range(epochs):
        for r, c, value in places:
            row, column = u[r], v[c]
            product = 0.0
            for one, other in zip(row, column, strict=True):
                product += one * other
            step = lr * (value - product)
            for j, other in enumerate(column):
                row[j] += step * other
            for j, one in enumerate(row):
                column[j] += step * one
    return np.array(u), np.array(v)
