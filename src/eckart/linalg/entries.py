"""Observed entries of one matrix, as a list; nothing is stored of the others."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Entries:
    """Observed entries of one matrix of shape ``(m, n)``, in row-major order, each at most once.

    Attributes:
        row: Row of each, int64, shape ``(N,)``.
        col: Column of each, int64, shape ``(N,)``.
        value: Its value, shape ``(N,)``, of any real dtype.
        shape: ``(m, n)``.

    Example:
        >>> entries = Entries.of_matrix(torch.tensor([[1.0, torch.nan], [torch.nan, 4.0]]))
        >>> entries.row, entries.col, entries.value
        (tensor([0, 1]), tensor([0, 1]), tensor([1., 4.]))
        >>> entries.dense()
        tensor([[1., nan],
                [nan, 4.]])
    """

    row: Tensor
    col: Tensor
    value: Tensor
    shape: tuple[int, int]

    @classmethod
    def of_matrix(cls, matrix: Tensor, observed: Tensor | None = None) -> "Entries":
        """Entries of a matrix ``(m, n)`` that are not NaN: all, or those of a boolean mask."""
        known = ~matrix.isnan()
        row, col = (known if observed is None else known & observed).nonzero(as_tuple=True)
        return cls(row, col, matrix[row, col], (matrix.shape[0], matrix.shape[1]))

    @classmethod
    def of_lists(cls, row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]) -> "Entries":
        """Entries from lists in any order.

        Raises:
            ValueError: If an entry lies outside the shape, or two have one place.

        Example:
            >>> one = torch.ones(1, dtype=torch.long)
            >>> Entries.of_lists(one, 3 * one, one.double(), (2, 3))
            Traceback (most recent call last):
            ValueError: An entry must lie inside the matrix, 2×3. Found row 1, column 3, counted from 0.
        """
        outside = (row < 0) | (row >= shape[0]) | (col < 0) | (col >= shape[1])
        if outside.any():
            first = int(outside.nonzero()[0])
            law = f"An entry must lie inside the matrix, {shape[0]}×{shape[1]}"
            raise ValueError(f"{law}. Found row {int(row[first])}, column {int(col[first])}, counted from 0.")
        place = row.long() * shape[1] + col.long()
        order = torch.argsort(place)
        place = place[order]
        twice = (place[1:] == place[:-1]).nonzero()
        if len(twice):
            first = int(place[int(twice[0])])
            found = f"two at row {first // shape[1]}, column {first % shape[1]}, counted from 0"
            raise ValueError(f"An entry must be observed at most once. Found {found}.")
        return cls(place // shape[1], place % shape[1], value[order], shape)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, chosen: Tensor) -> "Entries":
        """Some of the entries, by a boolean mask or by increasing places, shape ``(N,)``."""
        return Entries(self.row[chosen], self.col[chosen], self.value[chosen], self.shape)

    def __truediv__(self, scale: Tensor | float) -> "Entries":
        """The same entries of the matrix divided by a number."""
        return Entries(self.row, self.col, self.value / scale, self.shape)

    def to(self, kind: torch.dtype | torch.device) -> "Entries":
        """The same entries with values of a dtype, or on a device."""
        if isinstance(kind, torch.dtype):
            return Entries(self.row, self.col, self.value.to(kind), self.shape)
        return Entries(self.row.to(kind), self.col.to(kind), self.value.to(kind), self.shape)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Number of entries of each row, shape ``(m,)``, and of each column, shape ``(n,)``."""
        rows, cols = self.shape
        return torch.bincount(self.row, minlength=rows), torch.bincount(self.col, minlength=cols)

    def norm(self) -> Tensor:
        """Frobenius norm of the entries, float64."""
        return torch.linalg.vector_norm(self.value.double())

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Entries of ``left @ right`` in the same places, shape ``(N,)``, for ``left (m, k)`` and ``right (k, n)``."""
        return torch.einsum("ij,ij->i", left[self.row], right.mT[self.col])

    def dense(self) -> Tensor:
        """The matrix, ``(m, n)``, with NaN in the place of all other entries."""
        matrix = torch.full(self.shape, torch.nan, dtype=self.value.dtype, device=self.value.device)
        matrix[self.row, self.col] = self.value
        return matrix
