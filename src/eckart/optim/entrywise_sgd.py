"""Stochastic gradient descent over single entries: the lab's inner loop, compiled."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.optim.objectives import Objective
from eckart.optim.solver import PairSolver


class EntrywiseSGD(PairSolver):
    """Stochastic gradient descent over single entries, in row-major order, as in the lab.

    One step passes once over the entries: ``e = A[r, c] - U[r]·V[c]``, ``U[r] += lr e V[c]``, then
    ``V[c] += lr e U[r]`` with the new ``U[r]``. The loop is compiled without fused multiply-add and without reordering,
    so its iterates have the same bits as those of a plain Python loop.

    Args:
        objective: The entries of a stack of targets, on the CPU.
        left: ``U``, shape ``(J, m, k)``.
        right: ``Vᵀ``, shape ``(J, k, n)``.
        tolerance: Not used: the algorithm of the lab has no stopping criterion.
        lr: Learning rate.

    Raises:
        ValueError: If the factors are not on the CPU.
    """

    unit_scale = False
    on_cpu = True

    def __init__(
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 0.0, lr: float = 0.01
    ) -> None:
        super().__init__(objective, left, right, tolerance=tolerance, lr=lr)
        if left.device.type != "cpu":
            raise ValueError(f"Entrywise SGD needs factors on the CPU. Found {left.device.type}.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Pass once over the entries and return ``‖residual‖²`` before it, shape ``(J,)``."""
        sweep = compiled_sweep()
        before = self.squared_residual()
        for member in self.active.nonzero()[:, 0].tolist():
            row, col, values = self.objective.entries(member)
            sweep(
                row.numpy(),
                col.numpy(),
                values.numpy(),
                self.left[member].numpy(),
                self.right[member].numpy().T,
                self.param_groups[0]["lr"],
            )
        return before


@functools.cache
def compiled_sweep() -> Callable[..., None]:
    """:func:`sweep`, compiled at the first call, because the import of numba takes a second."""
    import numba

    # With fastmath the compiler may fuse and reorder operations, and the iterates would differ from those of the lab.
    return numba.njit(fastmath=False, nogil=True)(sweep)  # type: ignore[no-any-return]


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
