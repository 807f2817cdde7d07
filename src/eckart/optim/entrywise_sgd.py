"""Stochastic gradient descent over single entries: the lab's inner loop, compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.optim.compiled import compiled
from eckart.optim.objectives import Objective
from eckart.optim.solver import PairSolver

# Products of two numbers in a call.
_WORK = 1e8


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
        self._known: Tensor | None = None
        self._lists: dict[int, tuple[NDArray[Any], ...]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Pass once over the entries and return ``‖residual‖²`` before it, shape ``(J,)``."""
        return self.passes(1)

    def at_once(self, most: int) -> int:
        """How many passes, at most so many, one call takes: those of a tenth of a second or so."""
        cost = sum(len(self._entries(member)[2]) for member in range(len(self.left))) * self.left.shape[2]
        return max(1, min(most, int(_WORK / max(1, cost))))

    @torch.no_grad()
    def passes(self, count: int) -> Tensor:
        """Pass over the entries so many times and return ``‖residual‖²`` before the last pass, shape ``(J,)``."""
        pass_over, squared = compiled(sweep, exact=True), compiled(squares)
        before = torch.empty_like(self.objective.norms)
        for member, active in enumerate(self.active.tolist()):
            own = *self._entries(member), self.left[member].numpy(), self.right[member].numpy().T
            lr = self.param_groups[0]["lr"]
            if active and count > 1:
                pass_over(*own, lr, count - 1)
            before[member] = squared(*own)
            if active:
                pass_over(*own, lr, 1)
        return before

    def _entries(self, member: int) -> tuple[NDArray[Any], ...]:
        # The norms are others where the objective has come to see other entries.
        if self._known is not self.objective.norms:
            self._known, self._lists = self.objective.norms, {}
        if member not in self._lists:
            self._lists[member] = tuple(part.numpy() for part in self.objective.entries(member))
        return self._lists[member]


def sweep(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    values: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    lr: float,
    count: int,
) -> None:
    """Pass over the entries so many times, updating ``u (m, k)`` and ``v (n, k)`` in place after each.

    Example:
        >>> u, v = np.array([[1.0]]), np.array([[1.0]])
        >>> sweep(np.array([0]), np.array([0]), np.array([3.0]), u, v, 0.5, 1)
        >>> u, v
        (array([[2.]]), array([[3.]]))
    """
    for _ in range(count):
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


def squares(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    values: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
) -> float:
    """Sum of the squared errors of all entries.

    Example:
        >>> squares(np.array([0]), np.array([0]), np.array([3.0]), np.array([[1.0]]), np.array([[1.0]]))
        4.0
    """
    total = 0.0
    for entry in range(len(values)):
        product = 0.0
        for j in range(u.shape[1]):
            product += u[row[entry], j] * v[col[entry], j]
        total += (values[entry] - product) ** 2
    return float(total)
