"""Alternating least squares of a rating model, with a ridge weighted by counts."""

import numpy as np
import torch

from eckart.linalg.checks import require_count
from eckart.linalg.entries import Entries
from eckart.optim.ratings import RatingsSolver


class WeightedALS(RatingsSolver):
    r"""Mean, biases and factors by alternating least squares, with a ridge weighted by counts.

    It minimizes the squared residuals plus ``ridge · (Σ_r n_r (b_r² + ‖p_r‖²) + Σ_i n_i (c_i² + ‖v_i‖²))``, where
    ``n`` counts the entries of a row or column: the ridge then means the same for rows with few entries and with many.
    A step solves for all rows, then for all columns, each by a Cholesky factorization of its normal equations. A row
    without an entry is zero: its prediction is the bias of the column.

    Args:
        entries: The entries.
        rank: Rank k of the product of the vectors without their biases.
        seed: Draws the start.
        dtype: Type of the vectors.
        ridge: Ridge of an entry, in units of the variance of the ratings; above 0.
        sweeps: Steps.
        biases: Whether rows and columns have biases.

    Raises:
        ValueError: If the ridge is not above 0, or ``sweeps`` is below 1.

    Example:
        >>> matrix = torch.tensor([[5.0, 1.0], [4.0, torch.nan], [torch.nan, 2.0]])
        >>> solver = WeightedALS(Entries.of_matrix(matrix), 1, 0, torch.float64, ridge=1e-3)
        >>> for step in range(10):
        ...     solver.advance(step)
        >>> left, right = solver.pair()
        >>> (left @ right)[0].round(decimals=1)
        tensor([5., 1.], dtype=torch.float64)

    References:
        Zhou, Wilkinson, Schreiber & Pan, Large-scale parallel collaborative filtering for the Netflix prize, 2008.
    """

    def __init__(
        self,
        entries: Entries,
        rank: int,
        seed: int,
        dtype: torch.dtype,
        *,
        ridge: float = 0.1,
        sweeps: int = 30,
        biases: bool = True,
    ) -> None:
        if not ridge > 0:
            raise ValueError(f"ridge must be above 0. Found {ridge}.")
        require_count("sweeps", sweeps)
        super().__init__(entries, rank, seed, dtype, biases=biases)
        self.ridge, self.sweeps = ridge, sweeps

    def advance(self, step: int) -> None:
        """Solve for the rows, then for the columns."""
        from eckart.optim import row_updates

        solve = self.loop(row_updates.solve_rows)
        rows, cols = self.rows.numpy(), self.cols.numpy()
        for layout, own, other in ((self.by_row, rows, cols), (self.by_col, cols, rows)):
            size, dtype = own.shape[1], own.dtype
            none = np.empty((0, size), dtype=dtype)
            # Rows without entries have no equation; any weight makes theirs solvable.
            weight = np.maximum(layout.counts, 1).astype(dtype)
            ridge = np.eye(size, dtype=dtype) * dtype.type(self.ridge)
            shift = np.zeros(size, dtype=dtype)
            solve(
                layout.start, layout.col, layout.value, none, other, ridge, shift, weight, 1.0, none, own, self.biases
            )

    def done(self, step: int) -> str | None:
        """After ``sweeps`` steps."""
        return f"completed {self.sweeps} sweeps" if step >= self.sweeps else None
