"""Curves over the rank that were measured at a few ranks: monotone between and beyond them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Losses below this share of the largest are noise of the samples that they were measured on.
NOISE = 1e-6


def some_ranks(largest: int, count: int = 8) -> list[int]:
    """Ranks to measure at: evenly spaced in their logarithm, with 1 and the largest.

    Args:
        largest: Largest rank, at least 1.
        count: About how many.

    Example:
        >>> some_ranks(100, 5)
        [1, 3, 10, 32, 100]
    """
    return sorted({round(float(rank)) for rank in np.geomspace(1, largest, count)})


def rising(ranks: Sequence[int], values: Sequence[float], largest: int) -> Floats:
    """Values at all ranks from values at some, where more rank costs more: seconds.

    Measured values that fall are averaged (isotonic regression); between them a monotone cubic runs, and outside of
    them the line through the two outermost.

    Args:
        ranks: Measured ranks, rising, at least two.
        values: Their values.
        largest: Rank of the last value wanted.

    Returns:
        The values at ranks 1 to ``largest``, nondecreasing.

    Example:
        >>> rising([1, 4, 8], [1.0, 4.0, 6.0], 8).round(1).tolist()
        [1.0, 2.2, 3.2, 4.0, 4.7, 5.2, 5.7, 6.0]

    References:
        Fritsch & Butland, SIAM J. Sci. Stat. Comput. 5(2), 1984.
    """
    # Imported as they are needed: they take as long to import as a small model to factorize.
    from scipy.interpolate import PchipInterpolator
    from scipy.optimize import isotonic_regression

    at = np.asarray(ranks, dtype=np.float64)
    fitted = np.asarray(isotonic_regression(np.asarray(values, dtype=np.float64)).x)
    wanted = np.arange(1.0, largest + 1)
    between = PchipInterpolator(at, fitted)(np.clip(wanted, at[0], at[-1]))
    first, last = ((fitted[b] - fitted[a]) / (at[b] - at[a]) for a, b in ((0, 1), (-2, -1)))
    outside = first * np.minimum(wanted - at[0], 0) + last * np.maximum(wanted - at[-1], 0)
    return np.maximum.accumulate(np.maximum(between + outside, 0.0))


def falling(ranks: Sequence[int], values: Sequence[float], largest: int) -> Floats:
    """Values at all ranks from values at some, where more rank loses less: losses.

    Losses fall over several powers of ten, so the cubic runs through their logarithms, against that of the rank.
    Measured values below zero are 0, those that rise are averaged.

    Args:
        ranks: Measured ranks, rising.
        values: Their losses.
        largest: Rank of the last value wanted, at least the last measured one.

    Returns:
        The losses at ranks 1 to ``largest``, nonincreasing and at least 0; outside of the measured ranks as at the
        nearest one.

    Example:
        >>> falling([1, 4, 16], [16.0, 4.0, 1.0], 16)[:4].round(3).tolist()
        [16.0, 8.0, 5.333, 4.0]
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.optimize import isotonic_regression

    fitted = np.asarray(isotonic_regression(np.maximum(np.asarray(values, np.float64), 0.0), increasing=False).x)
    wanted = np.clip(np.arange(1.0, largest + 1), ranks[0], ranks[-1])
    floor = NOISE * float(fitted[0])
    if len(ranks) == 1 or floor == 0:
        return np.full(largest, float(fitted[0]))
    curve = PchipInterpolator(np.log(ranks), np.log(fitted + floor))
    found = np.maximum(np.exp(curve(np.log(wanted))) - floor, 0.0)
    # To the last bit: where nothing is lost is 0.
    found[np.asarray(ranks) - 1] = fitted
    return np.minimum.accumulate(found)
