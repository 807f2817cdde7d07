"""Compiled loops over the entries of each row: normal equations, residuals, and what entries say of other rows.

A model of an entry is ``b_r + c_i + (p_r + offset_r) · v_i``. The vector of a row is ``[b_r, p_r]``, that of a column
``[c_i, v_i]``, so that the features of a row's entries are ``[1, v_i]``. Rows and columns have the same loops: those of
columns are the same over the entries in the order of columns. To import this module takes a second, for numba.
"""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

Array = NDArray[Any]
# Entries whose features are gathered at a time: each number of a matrix is loaded and stored once for four of them.
_BLOCK = 4


def solve_rows(
    start: Array,
    col: Array,
    value: Array,
    offset: Array,
    other: Array,
    precision: Array,
    shift: Array,
    weight: Array,
    noise: float,
    normal: Array,
    own: Array,
    biased: bool,
) -> None:
    """Solve the normal equations of each row, or draw from the normal distribution that they describe.

    With features ``F`` of a row's entries and what is left of their values ``t``, its vector is the solution of
    ``(Fᵀ F / noise + weight · precision) x = Fᵀ t / noise + weight · shift``, plus ``L⁻ᵀ normal`` for the Cholesky
    factor L of the matrix: mean and covariance are those of the conditional distribution.

    Args:
        start: Place of the first entry of each row, and the number of entries, shape ``(m + 1,)``.
        col: Column of each entry, shape ``(N,)``.
        value: Value of each, shape ``(N,)``.
        offset: Added to the vectors of rows, shape ``(m, d - 1)``; none where it has no rows.
        other: Vectors of the columns, shape ``(n, d)``.
        precision: Shape ``(d, d)``.
        shift: Precision times the prior mean, shape ``(d,)``.
        weight: Weight of the prior of each row, shape ``(m,)``.
        noise: Variance of a residual.
        normal: What is added, shape ``(m, d)``; nothing where it has no rows.
        own: Vectors of the rows, shape ``(m, d)``, written.
        biased: Whether vectors begin with a bias, whose feature is 1.
    """
    size, lead, shifted, drawn = own.shape[1], 1 if biased else 0, len(offset) > 0, len(normal) > 0
    for r in prange(len(start) - 1):
        matrix, vector = np.empty((size, size), own.dtype), np.empty(size, own.dtype)
        features = np.empty((_BLOCK, size), own.dtype)
        for a in range(size):
            vector[a] = weight[r] * shift[a] * noise
            for c in range(size):
                matrix[a, c] = weight[r] * precision[a, c] * noise
        for first in range(start[r], start[r + 1], _BLOCK):
            count = min(_BLOCK, start[r + 1] - first)
            features[:, 0] = 1
            for x in range(count):
                i = col[first + x]
                left = value[first + x]
                if biased:
                    left -= other[i, 0]
                for a in range(lead, size):
                    features[x, a] = other[i, a]
                if shifted:
                    for a in range(1, size):
                        left -= offset[r, a - 1] * features[x, a]
                for a in range(size):
                    vector[a] += features[x, a] * left
            features[count:] = 0
            for a in range(size):
                one, two, three, four = features[0, a], features[1, a], features[2, a], features[3, a]
                for c in range(size):
                    matrix[a, c] += (
                        one * features[0, c] + two * features[1, c] + three * features[2, c] + four * features[3, c]
                    )
        # Cholesky in place, and both triangular systems.
        for a in range(size):
            for c in range(a + 1):
                total = matrix[a, c]
                for x in range(c):
                    total -= matrix[a, x] * matrix[c, x]
                matrix[a, c] = np.sqrt(total) if a == c else total / matrix[c, c]
        for a in range(size):
            total = vector[a]
            for x in range(a):
                total -= matrix[a, x] * vector[x]
            vector[a] = total / matrix[a, a]
        if drawn:
            scale = np.sqrt(noise)
            for a in range(size):
                vector[a] += scale * normal[r, a]
        for a in range(size - 1, -1, -1):
            total = vector[a]
            for x in range(a + 1, size):
                total -= matrix[x, a] * vector[x]
            vector[a] = total / matrix[a, a]
        for a in range(size):
            own[r, a] = vector[a]


def residuals(start: Array, col: Array, value: Array, rows: Array, cols: Array, found: Array) -> None:
    """Value of each entry minus the model's, written to ``found (N,)``, for vectors ``(m, d)`` and ``(n, d)``."""
    for r in prange(len(start) - 1):
        for e in range(start[r], start[r + 1]):
            i = col[e]
            rest = value[e] - rows[r, 0] - cols[i, 0]
            for a in range(1, rows.shape[1]):
                rest -= rows[r, a] * cols[i, a]
            found[e] = rest


def draw_implicit(
    start: Array,
    col: Array,
    col_start: Array,
    row: Array,
    weight: Array,
    noise: float,
    precision: Array,
    normal: Array,
    factors: Array,
    residual: Array,
    sums: Array,
    implicit: Array,
) -> None:
    """Draw the implicit vectors of the columns: those by which having an entry, whatever its value, tells of a row.

    The vector of row r contains ``weight[r] · Σ implicit[i]`` over the columns i that it has an entry in. A coordinate
    after the other is drawn from its conditional distribution; the residuals of a row follow from two sums over its
    entries, so that a pass over all costs as much as a pass over the entries for each coordinate.

    Args:
        start: Place of the first entry of each row, and the number of entries, shape ``(m + 1,)``.
        col: Column of each entry, shape ``(N,)``.
        col_start: Place of the first entry of each column in the order of columns, shape ``(n + 1,)``.
        row: Row of each entry in the order of columns, shape ``(N,)``.
        weight: Weight of the sum of each row, shape ``(m,)``.
        noise: Variance of a residual.
        precision: Of each coordinate of an implicit vector, shape ``(k,)``.
        normal: Standard normal numbers, shape ``(n, k)``.
        factors: Vectors of the columns without their biases, transposed, shape ``(k, n)``.
        residual: Residual of each entry in the order of rows, shape ``(N,)``; kept up to date.
        sums: ``weight[r] · Σ implicit[i]``, shape ``(m, k)``; kept up to date.
        implicit: Implicit vectors, shape ``(n, k)``, written.
    """
    count, size = len(start) - 1, implicit.shape[1]
    # Of each row: the sum of the squared factors, and the slope of the squared residuals, now and at the start.
    sides = np.zeros((count, 3))
    for f in range(size + 1):
        for r in range(count):
            # The last coordinate's step, and the sums of the next one, in one pass over the entries.
            step = 0.0
            if f > 0 and sides[r, 0] > 0:
                step = (sides[r, 2] - sides[r, 1]) / sides[r, 0] * weight[r]
                sums[r, f - 1] += step
            before, factor = factors[max(f - 1, 0)], factors[min(f, size - 1)]
            squares, slopes = 0.0, 0.0
            for e in range(start[r], start[r + 1]):
                i = col[e]
                rest, own = residual[e] - step * before[i], factor[i]
                residual[e] = rest
                squares += own * own
                slopes += own * rest
            sides[r, 0], sides[r, 1], sides[r, 2] = squares * weight[r] ** 2, slopes * weight[r], slopes * weight[r]
        if f == size:
            break
        for i in range(len(col_start) - 1):
            squares, slopes = 0.0, 0.0
            for e in range(col_start[i], col_start[i + 1]):
                r = row[e]
                squares += sides[r, 0]
                slopes += sides[r, 1]
            old, tight = implicit[i, f], squares / noise + precision[f]
            new = (slopes + squares * old) / noise / tight + normal[i, f] / np.sqrt(tight)
            implicit[i, f] = new
            change = new - old
            for e in range(col_start[i], col_start[i + 1]):
                r = row[e]
                sides[r, 1] -= change * sides[r, 0]
