"""Observed entries of a sparse matrix, as a list: no array has the size of the matrix."""

import torch
from torch import Tensor

from eckart.data.files.limits import MAX_ENTRIES
from eckart.linalg.entries import Entries
from eckart.linalg.operators import Sparse
from eckart.linalg.random import stream


def drawn(shape: tuple[int, int], share: float, seed: int) -> Tensor:
    """Places of a share of all entries, ``row * n + column``, each at most once, in increasing order.

    Args:
        shape: ``(m, n)``.
        share: In (0, 1]; the zeros of a sparse matrix are entries too.
        seed: Seed of the run.

    Raises:
        ValueError: If they are more than ``limits.MAX_ENTRIES``.

    Example:
        >>> drawn((1000, 1000), 4e-6, seed=0).shape
        torch.Size([4])
    """
    whole, generator = shape[0] * shape[1], stream(seed, "observed")
    count = max(1, round(share * whole))
    if count > MAX_ENTRIES:
        law = (
            f"data.observed must be a share of at most {MAX_ENTRIES} entries, or a file that is not 0 where one is seen"
        )
        raise ValueError(f"{law}. Found {share} of {shape[0]}×{shape[1]}, which is {count}.")
    if 2 * count > whole:
        # The list itself has the size of the matrix, or half of it.
        return torch.randperm(whole, generator=generator)[:count].sort().values
    places = torch.empty(0, dtype=torch.long)
    while len(places) < count:
        more = torch.randint(whole, (2 * (count - len(places)),), generator=generator)
        places = torch.cat([places, more]).unique()
    # Those that are too many are left out at random, not from the end.
    return places[torch.randperm(len(places), generator=generator)[:count]].sort().values


def nonzero_places(mask: Tensor | Sparse) -> Tensor:
    """Places of a mask that are not zero, in increasing order.

    Example:
        >>> nonzero_places(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        tensor([1, 2])
    """
    if isinstance(mask, Tensor):
        return (mask != 0).flatten().nonzero()[:, 0]
    places, values = _stored(mask)
    return places[values != 0]


def entries_at(matrix: Sparse, places: Tensor) -> Entries:
    """Entries of a sparse matrix in some places; those that it does not store are zero.

    Args:
        matrix: The matrix.
        places: ``row * n + column`` of each, increasing.

    Example:
        >>> entries = entries_at(Sparse(torch.tensor([[0.0, 2.0], [1.0, 0.0]]).to_sparse()), torch.tensor([0, 1]))
        >>> entries.row, entries.col, entries.value
        (tensor([0, 0]), tensor([0, 1]), tensor([0., 2.]))
    """
    stored, values = _stored(matrix)
    value = values.new_zeros(len(places))
    if len(stored):
        where = torch.searchsorted(stored, places).clamp(max=len(stored) - 1)
        value = torch.where(stored[where] == places, values[where], 0)
    cols = matrix.shape[1]
    return Entries(places // cols, places % cols, value, matrix.shape)


def _stored(matrix: Sparse) -> tuple[Tensor, Tensor]:
    """Places of the stored entries, increasing, and their values."""
    found = matrix.matrix.to_sparse_coo().coalesce()
    row, col = found.indices()
    return row * matrix.shape[1] + col, found.values()
