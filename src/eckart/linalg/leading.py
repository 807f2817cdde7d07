"""Leading singular values of a matrix that is not decomposed, and proven bounds on its optimum."""

import math

import torch
from torch import Tensor

from eckart.linalg.certificates import Certificate, certify, gram_bounds
from eckart.linalg.gram import gram_matrix, leading_eigenpairs
from eckart.linalg.gram_lanczos import gram_lanczos, too_slow
from eckart.linalg.norms import residual_squares
from eckart.linalg.operators import Dense, Operator, Transposed
from eckart.linalg.random import stream

OVERSAMPLING = 8
"""Vectors of the iterated block beyond those that are asked for."""

# The optimum depends on the square of this residual.
_TOLERANCE = 1e-6
_MAX_STEPS = 200
# Below this an optimum counts as small: it is then computed entry by entry where that is possible.
_SMALL = 1e-4
# Shorter sides up to which a Gram matrix is formed, of two gigabytes.
_GRAM = 2**14


def can_iterate(shape: tuple[int, int], count: int) -> bool:
    """Whether the shorter side has room for an iteration for ``count`` singular values.

    Example:
        >>> can_iterate((50, 33), 3), can_iterate((50, 32), 3)
        (True, False)
    """
    return min(shape) >= 3 * (count + OVERSAMPLING)


def upright(operator: Operator) -> Operator:
    """The matrix with its longer side down."""
    return operator if operator.shape[0] >= operator.shape[1] else Transposed(operator)


def leading(operator: Operator, count: int, like: Tensor, *, parts: float = 0.0) -> tuple[Tensor, Tensor]:
    """Leading singular values of one matrix, to a residual of 1e-6 of the largest, and vectors of its shorter side.

    Args:
        operator: One matrix that has a transpose; :func:`can_iterate` of its shape.
        count: Number of values.
        like: Any tensor of the dtype and on the device that are computed in.
        parts: Sum of the 2-norms of the parts, where the matrix is a difference of two: its products have the rounding
            of theirs, and a smaller residual is never reached.

    Returns:
        ``(s, vectors)``: the values, shape ``(count,)``, and ``count`` vectors and some more as columns, orthonormal.

    Example:
        >>> diagonal = torch.diag(torch.arange(40, 0, -1.0).double())
        >>> values, vectors = leading(Dense(diagonal), 2, diagonal)
        >>> values.round(decimals=4)
        tensor([40., 39.], dtype=torch.float64)
    """
    found = _within(operator, count, like, math.inf, parts)
    assert found is not None
    return found


def _within(
    operator: Operator, count: int, like: Tensor, budget: float, parts: float = 0.0
) -> tuple[Tensor, Tensor] | None:
    """As :func:`leading`; None where it would take more block products than ``budget``."""
    tall = upright(operator)
    rounding = 100 * torch.finfo(like.dtype).eps

    unit = 0.0

    def product(x: Tensor) -> Tensor:
        nonlocal unit
        found = tall.gram_images(x[None])[0]
        unit = unit or float(found.abs().max())
        return found

    def worst(values: Tensor, residuals: Tensor) -> float:
        # In the unit that the values are given in, the largest entry of the first images.
        largest, beside = values[0].sqrt(), parts / max(unit, torch.finfo(like.dtype).tiny) ** 0.5
        allowed = _TOLERANCE * values[:count].sqrt() * largest + rounding * largest * (largest + beside)
        return float((residuals[:count] / allowed.clamp(min=torch.finfo(allowed.dtype).tiny)).max())

    def converged(values: Tensor, residuals: Tensor) -> bool:
        return worst(values, residuals) <= 1

    history: list[float] = []

    def hopeless(steps: int, values: Tensor, residuals: Tensor) -> bool:
        history.append(worst(values, residuals))
        return steps > 2 and too_slow(history, steps, budget)

    found = gram_lanczos(
        product,
        tall.shape[1],
        count,
        min(count + OVERSAMPLING, tall.narrow or count + OVERSAMPLING),
        converged=converged,
        generator=stream(0, "measuring"),
        like=like,
        max_steps=_MAX_STEPS,
        hopeless=hopeless,
    )
    if math.isfinite(budget) and not found.done and found.steps < _MAX_STEPS:
        return None
    vectors = found.vectors.mT
    # The roots of the Ritz values lose the small ones.
    values: Tensor = torch.linalg.svdvals(tall.images(vectors.mT[None])[0])
    return values[:count], vectors


def certified(matrix: Tensor, rank: int) -> tuple[Certificate, float]:
    """Bounds on the optimum of a large stored matrix, and the Frobenius norm of the matrix, without its SVD.

    Args:
        matrix: Shape ``(m, n)``, float64.
        rank: The rank of the approximation.

    Returns:
        The bounds, and what the leading Ritz vectors leave of the matrix, which is at least the optimum; NaN where it
        was not computed because the optimum is not small.

    Example:
        >>> bounds, left = certified(torch.diag(torch.arange(60, 0, -1.0).double()), 2)
        >>> bounds.kept[0] <= 60**2 + 59**2 <= bounds.kept[1]
        True
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
    rows, cols = tall.shape
    operator = Dense(tall)
    # Operations of the Gram matrix, against those of a block product.
    budget = (rows * cols**2 + 3.0 * cols**3) / (4.0 * rows * cols * max(rank + 1 + OVERSAMPLING, 16))
    room = 8 * (rank + OVERSAMPLING) <= cols
    found = _within(operator, rank + 1, tall, budget if cols <= _GRAM else math.inf) if room else None
    if found is None:
        values, _ = leading_eigenpairs(gram_matrix(tall), 1, every=True)
        return gram_bounds(values, rank, (rows, cols)), torch.nan
    vectors = found[1]
    bounds = certify(operator, vectors, rank)
    norm = float(torch.linalg.matrix_norm(tall))
    if 1 - bounds.kept[0] / norm / norm > _SMALL**2:
        return bounds, torch.nan
    right = vectors @ torch.linalg.svd(tall @ vectors, full_matrices=False).Vh[:rank].mT
    return bounds, float(residual_squares(tall, tall @ right, right.mT).sqrt())
