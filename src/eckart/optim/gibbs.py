"""The posterior mean of a rating model, by Gibbs sampling: nothing is tuned, and nothing overfits."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.linalg.checks import require_count
from eckart.linalg.entries import Entries
from eckart.linalg.pair_mean import PairMean
from eckart.optim.compiled import compiled
from eckart.optim.layout import Layout
from eckart.optim.ratings import RatingsSolver

Array = NDArray[Any]


class Gibbs(RatingsSolver):
    r"""Mean, biases and factors as the mean of samples from their posterior, truncated to rank k.

    A rating is normal around ``mean + b_r + c_i + p_r · v_i`` with a variance that is drawn too. The vectors
    ``[b_r, p_r]`` of rows are normal with a mean and a precision matrix that are drawn (normal-Wishart), as those of
    columns are; so how much the vectors of rows with few ratings are drawn to the mean of all is learned from the
    ratings that are seen, and there is no ridge to choose. Which entries exist tells something whatever their values
    are: with ``implicit``, ``p_r`` is a vector of its own plus ``n_r^-½ Σ y_i`` over the columns that the row has
    entries in, and ``v_i`` likewise.

    The mean of the samples after ``burn_in`` is kept as a factor pair of rank 2k, and given back truncated to rank k
    by its SVD.

    Args:
        entries: The entries.
        rank: Rank k of the product of the vectors without their biases.
        seed: Draws the samples.
        dtype: Type of the vectors.
        implicit: Whether it is used which entries exist.
        burn_in: Steps before the first sample that counts.
        sweeps: Steps in all, more than ``burn_in``.

    Raises:
        ValueError: If ``burn_in`` is below 1 or ``sweeps`` not above it.

    Example:
        >>> matrix = torch.tensor([[5.0, 1.0, 5.0], [5.0, 1.0, torch.nan], [1.0, 5.0, 1.0], [1.0, 5.0, 1.0]])
        >>> solver = Gibbs(Entries.of_matrix(matrix), 1, 0, torch.float64)
        >>> for step in range(100):
        ...     solver.advance(step)
        >>> left, right = solver.pair()
        >>> 3.5 < (left @ right)[1, 2] < 5.5
        tensor(True)

    References:
        Salakhutdinov & Mnih, Bayesian probabilistic matrix factorization using Markov chain Monte Carlo, ICML 2008;
        Koren, Factorization meets the neighborhood, KDD 2008 (implicit features); Rendle, Zhang & Koren, On the
        difficulty of evaluating baselines, 2019 (both together, for rows and for columns).
    """

    noise: Tensor
    count: Tensor
    mean_left: Tensor
    mean_right: Tensor
    mean_row_bias: Tensor
    mean_col_bias: Tensor

    def __init__(
        self,
        entries: Entries,
        rank: int,
        seed: int,
        dtype: torch.dtype,
        *,
        implicit: bool = True,
        burn_in: int = 20,
        sweeps: int = 100,
    ) -> None:
        require_count("burn_in", burn_in)
        if sweeps <= burn_in:
            raise ValueError(f"sweeps must be above burn_in={burn_in}. Found {sweeps}.")
        super().__init__(entries, rank, seed, dtype)
        self.implicit, self.burn_in, self.sweeps = implicit, burn_in, sweeps
        (rows, cols), width = self.shape, min(2 * rank, *self.shape)
        # Implicit vectors of columns, which rows sum, and of rows; and the sums, which are part of the vectors.
        shapes = {"row_sums": (rows, rank), "col_sums": (cols, rank)}
        if implicit:
            shapes |= {"row_implicit": (cols, rank), "col_implicit": (rows, rank)}
        shapes |= {"mean_left": (rows, width), "mean_right": (width, cols)}
        shapes |= {"mean_row_bias": (rows, 1), "mean_col_bias": (cols, 1)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        self.register_buffer("noise", torch.ones((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def advance(self, step: int) -> None:
        """Draw the variance, then the vectors of rows, then those of columns."""
        draws = self.draws(step)
        rows, cols = self._full("row"), self._full("col")
        squared = float(np.square(self.residual(self.by_row, rows, cols), dtype=np.float64).sum())
        # At the start the vectors are no sample of anything.
        if step:
            self.noise.fill_((1 + squared) / 2 / draws.gamma((1 + len(self.by_row.value)) / 2))
        self._draw("row", self.by_row, self.by_col, cols, draws, first=step == 0)
        rows = self._full("row")
        self._draw("col", self.by_col, self.by_row, rows, draws, first=step == 0)
        if step >= self.burn_in:
            self._average(torch.from_numpy(rows), torch.from_numpy(self._full("col")))

    def done(self, step: int) -> str | None:
        """After the last sample."""
        return f"averaged {self.sweeps - self.burn_in} samples" if step >= self.sweeps else None

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The mean of the samples, truncated to rank k; before the first of them, the vectors of now."""
        if not self.count:
            return torch.from_numpy(self._full("row")), torch.from_numpy(self._full("col"))
        kept = self.rank
        left, right = self.mean_left[:, :kept], self.mean_right[:kept].mT
        return torch.cat([self.mean_row_bias, left], dim=1), torch.cat([self.mean_col_bias, right], dim=1)

    def _full(self, side: str) -> Array:
        """Vectors of one side with what the implicit ones of the other add to them."""
        found: Array = getattr(self, f"{side}s").numpy().copy()
        found[:, 1:] += getattr(self, f"{side}_sums").numpy()
        return found

    def _draw(
        self, side: str, own: Layout, turned: Layout, other: Array, draws: np.random.Generator, *, first: bool
    ) -> None:
        from eckart.optim import row_updates

        vectors, sums = getattr(self, f"{side}s").numpy(), getattr(self, f"{side}_sums").numpy()
        noise, dtype = float(self.noise), vectors.dtype
        mean, precision = _normal_wishart(vectors, draws)
        self.loop(row_updates.solve_rows)(
            own.start,
            own.col,
            own.value,
            sums,
            other,
            precision.astype(dtype),
            (precision @ mean).astype(dtype),
            np.ones(len(vectors), dtype=dtype),
            noise,
            draws.standard_normal(vectors.shape, dtype=dtype),
            vectors,
            True,
        )
        if not self.implicit:
            return
        implicit = getattr(self, f"{side}_implicit").numpy()
        tight = np.full(self.rank, 10.0) if first else _precisions(implicit, draws)
        compiled(row_updates.draw_implicit)(
            own.start,
            own.col,
            turned.start,
            turned.col,
            np.maximum(own.counts, 1) ** -0.5,
            noise,
            tight,
            draws.standard_normal(implicit.shape),
            np.ascontiguousarray(other[:, 1:].T),
            self.residual(own, self._full(side), other),
            sums,
            implicit,
        )

    def _average(self, rows: Tensor, cols: Tensor) -> None:
        count = int(self.count)
        PairMean(self.mean_left, self.mean_right).add(rows[:, 1:], cols[:, 1:].mT, count)
        self.mean_row_bias += (rows[:, :1] - self.mean_row_bias) / (count + 1)
        self.mean_col_bias += (cols[:, :1] - self.mean_col_bias) / (count + 1)
        self.count += 1


def _normal_wishart(vectors: Array, draws: np.random.Generator) -> tuple[Array, Array]:
    """Mean and precision of normal vectors ``(N, d)``, drawn; a priori the precision is the identity, weakly."""
    count, size = vectors.shape
    strength = 2.0
    mean = vectors.mean(0, dtype=np.float64)
    centered = vectors.astype(np.float64) - mean
    # Not a product of BLAS, whose threads would be many beside those of other members.
    gram = np.einsum("ij,ik->jk", centered, centered)
    spread = np.eye(size) + gram + count * strength / (count + strength) * np.outer(mean, mean)
    # Bartlett's decomposition of a Wishart matrix with `size + count` degrees of freedom.
    triangle = np.tril(draws.standard_normal((size, size)), -1)
    triangle[np.diag_indices(size)] = np.sqrt(draws.chisquare(size + count - np.arange(size)))
    factor = np.linalg.cholesky(np.linalg.inv(spread)) @ triangle
    drawn = np.linalg.solve(factor.T, draws.standard_normal(size)) / np.sqrt(count + strength)
    return count / (count + strength) * mean + drawn, factor @ factor.T


def _precisions(vectors: Array, draws: np.random.Generator) -> Array:
    """Precision of each coordinate of normal vectors ``(N, k)`` of mean 0, drawn from its gamma posterior."""
    squares = np.square(vectors, dtype=np.float64).sum(0)
    return draws.gamma((1 + len(vectors)) / 2, 2 / (1 + squares))
