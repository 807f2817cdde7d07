"""Rows and columns with no more entries than unknowns: they follow from the rest and tell nothing of it."""

from dataclasses import dataclass

import numpy as np

from eckart.optim.lists import Floats, Integers, Lists


@dataclass(frozen=True)
class Core:
    """What is left of a matrix when rows and columns with at most ``rank`` entries are taken off, again and again.

    Attributes:
        lists: Entries of the core.
        rows: Its rows, in the whole matrix.
        cols: Its columns.
        layers: Rows (False) or columns (True) that were taken off together, in order, each with its entries then.

    Example:
        >>> row, col = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
        >>> core = Core.of(Lists.of(row, col, np.array([1.0, 2.0, 2.0, 4.0, 6.0]), (3, 2)), 1)
        >>> core.rows, core.cols
        (array([0, 1]), array([0, 1]))
        >>> factor = np.array([[1.0], [2.0]])
        >>> core.whole(factor, factor, np.zeros((3, 1)), np.zeros((2, 1)))[0].T
        array([[1., 2., 3.]])
    """

    lists: Lists
    rows: Integers
    cols: Integers
    layers: list[tuple[bool, list[tuple[int, Integers, Floats]]]]

    @classmethod
    def of(cls, lists: Lists, rank: int) -> "Core":
        """The core for a rank; the whole matrix where nothing would be left."""
        row = np.repeat(np.arange(lists.shape[0]), np.diff(lists.by_row.starts))
        places, values = (row, lists.by_row.other), lists.values
        alive, kept = np.ones(len(values), dtype=bool), [np.ones(side, dtype=bool) for side in lists.shape]
        layers: list[tuple[bool, list[tuple[int, Integers, Floats]]]] = []
        idle, side = 0, 0
        while idle < 2:
            counts = np.bincount(places[side][alive], minlength=lists.shape[side])
            taken = kept[side] & (counts <= rank)
            idle = 0 if taken.any() else idle + 1
            if taken.any():
                mine = np.flatnonzero(alive & taken[places[side]])
                mine = mine[np.argsort(places[side][mine], kind="stable")]
                ends = counts[taken].cumsum()
                parts = np.split(mine, ends[:-1])
                found = zip(np.flatnonzero(taken).tolist(), parts, strict=True)
                layers.append((side == 1, [(line, places[1 - side][part], values[part]) for line, part in found]))
                alive[mine] = False
                kept[side] &= ~taken
            side = 1 - side
        if min(kept[0].sum(), kept[1].sum()) <= rank:
            return cls(lists, np.arange(lists.shape[0]), np.arange(lists.shape[1]), [])
        renumbered = [part.cumsum() - 1 for part in kept]
        shape = int(kept[0].sum()), int(kept[1].sum())
        core = Lists.of(renumbered[0][row[alive]], renumbered[1][places[1][alive]], values[alive], shape)
        return cls(core, np.flatnonzero(kept[0]), np.flatnonzero(kept[1]), layers)

    def whole(self, left: Floats, right: Floats, like_left: Floats, like_right: Floats) -> tuple[Floats, Floats]:
        """Factors of the whole matrix from those of the core; rows taken off change as little as their entries allow.

        Args:
            left: Left factor of the core.
            right: Right factor of the core.
            like_left: Factor ``(m, k)`` that rows change from, in the same coordinates.
            like_right: Likewise, ``(n, k)``.
        """
        pair = like_left.copy(), like_right.copy()
        pair[0][self.rows], pair[1][self.cols] = left, right
        for is_col, lines in reversed(self.layers):
            own, other = (pair[1], pair[0]) if is_col else pair
            for line, seen, values in lines:
                if len(seen):
                    basis = other[seen]
                    own[line] += np.linalg.lstsq(basis, values - basis @ own[line], rcond=1e-13)[0]
        return pair
