"""Quick fits to observed entries, one rank after the other, for validation; not the solver of a training."""

from typing import Any

import numpy as np

from eckart.linalg.entries import Entries

# A dense product is faster than a sparse one unless very few entries are known.
DENSE_SIZE, DENSE_SHARE = 4_000_000, 0.05
# Of the mean of the diagonal: makes the systems of rows with too few entries solvable.
RIDGE = 1e-9
Array = np.ndarray[Any, np.dtype[np.float64]]


class AlternatingFit:
    """Least squares on observed entries by factors that grow by one column at a time.

    A new column is the leading singular pair of the residual; then the factors are solved for in turn until the
    squared residual falls by less than ``tolerance`` of itself.

    Args:
        entries: The observed entries.
        tolerance: Relative decrease of the squared residual at which a rank is done.
        max_sweeps: Sweeps of each rank at most.

    Example:
        >>> import torch
        >>> fit = AlternatingFit(Entries.of_matrix(torch.tensor([[1.0, 2.0], [2.0, torch.nan]])))
        >>> fit.grow()
        >>> round(float(fit.predict(np.array([1]), np.array([1]))[0]), 6)
        4.0
    """

    def __init__(self, entries: Entries, *, tolerance: float = 1e-3, max_sweeps: int = 100) -> None:
        self.tolerance, self.max_sweeps = tolerance, max_sweeps
        self.shape = m, n = entries.shape
        self.row, self.col = entries.row.cpu().numpy(), entries.col.cpu().numpy()
        self.value = entries.value.double().cpu().numpy()
        self.dense = m * n <= DENSE_SIZE and len(self.value) >= DENSE_SHARE * m * n
        self.known, self.known_t = self._sides(np.ones(len(self.value)))
        self.values, self.values_t = self._sides(self.value)
        self.left, self.right = np.zeros((m, 0)), np.zeros((n, 0))
        self.residual, self.residual_t = self.values, self.values_t
        self.error = float(self.value @ self.value)
        self._rounding = 1e-26 * self.error

    def grow(self) -> None:
        """Add one column to each factor, and solve for both until the residual stands still."""
        right = np.random.default_rng(self.left.shape[1]).standard_normal(self.right.shape[0])
        for _ in range(15):
            left = self.residual @ right
            left /= np.linalg.norm(left) + 1e-300
            right = self.residual_t @ left
        self.right = np.column_stack([self.right, right])
        for _ in range(self.max_sweeps):
            # Orthonormal columns keep the normal equations well conditioned.
            self.right = np.linalg.qr(self.right)[0]
            self.left = np.linalg.qr(_solved(self.known, self.values, self.right))[0]
            self.right = _solved(self.known_t, self.values_t, self.left)
            before, residual = self.error, self._residual()
            self.error = float(np.vdot(residual, residual))
            if before - self.error <= self.tolerance * self.error or self.error <= self._rounding:
                break
        self.residual, self.residual_t = (residual, residual.T) if self.dense else self._sides(residual)

    def predict(self, row: np.ndarray[Any, Any], col: np.ndarray[Any, Any]) -> Array:
        """Entries of the fitted matrix."""
        return np.einsum("ij,ij->i", self.left[row], self.right[col])

    def _residual(self) -> Array:
        """Observed minus fitted: a matrix if the products are dense, else one value for each entry."""
        if self.dense:
            return self.values - self.known * (self.left @ self.right.T)
        return self.value - self.predict(self.row, self.col)

    def _sides(self, value: Array) -> tuple[Any, Any]:
        """A matrix with these values in the observed places, and its transpose."""
        from scipy.sparse import csr_array

        matrix = csr_array((value, (self.row, self.col)), shape=self.shape)
        if self.dense:
            full = matrix.toarray()
            return full, np.ascontiguousarray(full.T)
        return matrix, matrix.T.tocsr()


def _solved(known: Any, values: Any, factor: Array) -> Array:
    """The other factor of least squares: one small system for each row of ``known``."""
    rank = factor.shape[1]
    squares = (factor[:, :, None] * factor[:, None, :]).reshape(len(factor), rank * rank)
    systems = (known @ squares).reshape(-1, rank, rank)
    diagonal = np.einsum("ijj->ij", systems)
    diagonal += RIDGE * diagonal.mean(1, keepdims=True) + 1e-300
    return np.linalg.solve(systems, (values @ factor)[:, :, None])[:, :, 0]
