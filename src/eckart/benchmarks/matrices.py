"""Matrices whose singular values are known because they are chosen."""

import numpy as np
from numpy.typing import NDArray

from eckart.benchmarks.scratch import kept


def spectrum(kind: str, size: int) -> NDArray[np.float64]:
    """Singular values, nonincreasing, the largest near 1.

    Args:
        kind: ``flat``: from 1 down to a half, evenly. ``decaying``: as 1/i. ``clustered``: eights of values that differ
            by a millionth, the eights as 1/i; a rank that eight does not divide cuts one of them.
        size: How many.

    Example:
        >>> spectrum("flat", 3), spectrum("decaying", 3)
        (array([1.  , 0.75, 0.5 ]), array([1.        , 0.5       , 0.33333333]))
    """
    place = np.arange(size)
    if kind == "flat":
        return np.linspace(1.0, 0.5, size)
    if kind == "decaying":
        return 1 / (1.0 + place)
    return (1 - 1e-6 * (place % 8)) / (1 + place // 8)


def known(rows: int, cols: int, kind: str) -> NDArray[np.float64]:
    """A dense matrix of one of these spectra, whose singular vectors are random.

    Args:
        rows: Number of rows.
        cols: Number of columns.
        kind: See :func:`spectrum`.
    """

    def make() -> NDArray[np.float64]:
        draw = np.random.default_rng(rows + cols)
        short = min(rows, cols)
        left, right = (np.linalg.qr(draw.standard_normal((size, short)))[0] for size in (rows, cols))
        return (left * spectrum(kind, short)) @ right.T

    return kept(f"{kind}-{rows}x{cols}", make)
