"""A matrix whose rank is asked for, with its singular values computed once for all rules."""

import functools

import torch
from torch import Tensor

from eckart.linalg.ranks import numerical_rank

# Rows below this share of the largest singular value are zero.
ROUNDOFF = 1e-10
STEEP = 1000.0


class Spectrum:
    """A matrix and its singular value decomposition, which is computed once, at the first question.

    Args:
        matrix: Real, shape ``(m, n)``; it is converted to float64, and divided by ``scale`` if its squares could
            overflow. Singular values are those of the divided matrix.

    Raises:
        ValueError: If it has not two dimensions, is empty, or an entry is NaN or infinite.

    Example:
        >>> spectrum = Spectrum(torch.diag(torch.tensor([3.0, 2.0, 0.0])))
        >>> spectrum.s
        tensor([3., 2., 0.], dtype=torch.float64)
        >>> spectrum.tails
        tensor([13.,  4.,  0.,  0.], dtype=torch.float64)
    """

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise ValueError(f"The matrix must have two dimensions of at least 1. Found shape {tuple(matrix.shape)}.")
        self.matrix = matrix.detach().to("cpu", torch.float64)
        if not torch.isfinite(self.matrix).all():
            raise ValueError("The matrix must hold finite numbers alone. Found NaN or infinity.")
        # Data that was computed in single precision stays so in double precision.
        self.single = bool((self.matrix.float().double() == self.matrix).all())
        self.scale = safe_scale(self.matrix)
        self.matrix = self.matrix / self.scale

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(m, n)``."""
        m, n = self.matrix.shape
        return m, n

    @functools.cached_property
    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """``(u, s, vh)``, with ``min(m, n)`` triplets."""
        return torch.linalg.svd(self.matrix, full_matrices=False)

    @property
    def s(self) -> Tensor:
        """Singular values, nonincreasing, shape ``(min(m, n),)``."""
        return self.factors[1]

    @functools.cached_property
    def tails(self) -> Tensor:
        """Squared error of the best approximation of each rank from 0 to ``min(m, n)``."""
        return torch.cat([self.s.square().flip(0).cumsum(0).flip(0), self.s.new_zeros(1)])

    @functools.cached_property
    def exact_rank(self) -> int | None:
        """The rank of a matrix without noise: None if it has the full rank that its rows and columns allow.

        Rows and columns that are zero or equal others, and sums of zero (centered data), lower the full rank. In
        single precision the singular values must also fall steeply after the rank, as those of noise do not.
        """
        rank = int(numerical_rank(self.s, self.shape))
        if rank == min(self.shape) and self.single:
            m, n = self.shape
            # Largest singular value of roundoff of a few units in the last place of each entry.
            roundoff = 4 * torch.finfo(torch.float32).eps * (self.tails[0] / (m * n)).sqrt() * (m**0.5 + n**0.5)
            rank = int((self.s > roundoff).sum())
            if rank < min(self.shape) and self.s[rank - 1] < STEEP * self.s[rank]:
                return None
        if rank == min(self.shape):
            return None
        size = float(self.s[0]) * ROUNDOFF
        full = min(_different(side, size) for side in (self.matrix, self.matrix.mT))
        return rank if rank < full else None


def safe_scale(values: Tensor) -> float:
    """What to divide by, so that squares neither overflow nor vanish: 1 unless values are extreme.

    Example:
        >>> safe_scale(torch.tensor([3.0, -2.0])), safe_scale(torch.tensor([1e-200], dtype=torch.float64))
        (1.0, 1e-200)
    """
    largest = float(values.abs().max()) if values.numel() else 0.0
    return 1.0 if largest == 0 or 1e-100 < largest < 1e100 else largest


def _different(rows: Tensor, size: float) -> int:
    """How many rows could be linearly independent, as far as zeros, copies and sums of zero tell."""
    kept = torch.unique(rows[rows.norm(dim=1) > size], dim=0)
    return len(kept) - int(float(rows.sum(0).norm()) <= size * len(rows) ** 0.5)
