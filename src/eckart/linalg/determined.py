"""What observed entries determine of a matrix of known rank: how many, and how well."""

import numpy as np
import torch
from torch import Tensor

from eckart.linalg.entries import Entries

# Rows of Gram matrices that are formed at once.
_BLOCK = 2**22


def undetermined(entries: Entries, rank: int) -> int:
    """Number of rows and columns with too few entries to be determined; 0 where none is.

    A row with ``rank`` entries is determined by the columns that they lie in, and tells nothing of these. So rows and
    columns with at most ``rank`` entries are taken away, again and again, until all that are left have more. Each that
    had fewer when it was taken away lacks an equation, in whichever order they are taken. Rows and columns without any
    entry are not counted: nothing is said of them.

    What is left must hang together: of parts that share no row and no column, nothing says how the factors of one
    belong to those of the other. Each part beyond the first is counted too. Parts that a few entries join are not told
    apart.

    Args:
        entries: The observed entries.
        rank: Rank of the matrix.

    Example:
        >>> cross = torch.zeros(9, 9)
        >>> cross[1:, 1:] = 1
        >>> cross[0, :2] = cross[:2, 0] = 1  # the first row and the first column: 2 entries each, one of them shared
        >>> undetermined(Entries.of_matrix(cross, cross > 0), rank=2)
        1
    """
    left = torch.ones(len(entries), dtype=torch.bool)
    found, sides = 0, [(entries.row.cpu(), entries.shape[0]), (entries.col.cpu(), entries.shape[1])]
    present = [torch.bincount(place, minlength=side) > 0 for place, side in sides]
    changed = True
    while changed:
        changed = False
        for axis, (place, side) in enumerate(sides):
            counts = torch.bincount(place[left], minlength=side)
            few = present[axis] & (counts <= rank)
            if few.any():
                found += int((counts[few] < rank).sum())
                present[axis] = present[axis] & ~few
                left &= ~few[place]
                changed = True
    return found + max(0, _parts(entries, left) - 1)


def _parts(entries: Entries, chosen: Tensor) -> int:
    """Number of parts that some entries fall into, as edges between rows and columns."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    row, col = entries.row.cpu()[chosen].numpy(), entries.col.cpu()[chosen].numpy()
    used = np.unique(np.concatenate([row, col + entries.shape[0]]))
    size = sum(entries.shape)
    graph = coo_array((np.ones(len(row), dtype=bool), (row, col + entries.shape[0])), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    return len(np.unique(label[used]))


def amplification(entries: Entries, left: Tensor, right: Tensor) -> float:
    """Expected squared error of the whole matrix for noise of variance 1 in the observed entries, to first order.

    Each row of either factor is fitted to its own entries while the other factor is held: its error is that of least
    squares, the trace of the inverse of its Gram matrix. That of the space shared by both is counted twice.

    Args:
        entries: The observed entries; rows and columns without any are not counted.
        left: Shape ``(m, k)``, float64.
        right: Shape ``(k, n)``, float64.

    Returns:
        The sum over all entries of their variances; infinite where a row or column is not determined.

    Example:
        >>> everything = Entries.of_matrix(torch.ones(20, 10))
        >>> round(amplification(everything, torch.ones(20, 1).double(), torch.ones(1, 10).double()), 6)
        30.0
    """
    places = (entries.row.cpu(), entries.col.cpu())
    bases = (torch.linalg.qr(right.mT.cpu()).Q, torch.linalg.qr(left.cpu()).Q)
    return sum(
        _inverse_traces(own, other, basis, side)
        for own, other, basis, side in zip(places, places[::-1], bases, entries.shape, strict=True)
    )


def _inverse_traces(own: Tensor, other: Tensor, basis: Tensor, side: int) -> float:
    rank = basis.shape[1]
    grams = basis.new_zeros(side, rank * rank)
    step = max(1, _BLOCK // rank**2)
    for first in range(0, len(own), step):
        rows = basis[other[first : first + step]]
        grams.index_add_(0, own[first : first + step], (rows[:, :, None] * rows[:, None, :]).flatten(1))
    seen = torch.bincount(own, minlength=side) > 0
    values = torch.linalg.eigvalsh(grams[seen].view(-1, rank, rank))
    floor = rank * torch.finfo(values.dtype).eps * values[:, -1:]
    return float(torch.where(values > floor, 1 / values, torch.inf).sum())
