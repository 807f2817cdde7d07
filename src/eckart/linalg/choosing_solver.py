"""The fastest of the solvers that is accurate, by shape, rank and what the first steps say of the spectrum."""

import math

import torch
from torch import Tensor

from eckart.linalg.gram import gram_matrix, leading_eigenpairs, restricted_svd
from eckart.linalg.gram_lanczos import gram_lanczos, too_slow, worst_residual
from eckart.linalg.krylov import accurate, block_lanczos, randomized_svd
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import truncated_svd

# Shorter sides that LAPACK decomposes before anything else has begun.
_SMALL = 100
# Where the first value that is left out is below this share of the largest one, rounding of the Gram matrix shows in
# the error of the approximation.
_SEEN = 5e-4
# Vectors of the iterated block: at least as many as are asked for, so that copies of a value are found. A multiple of
# four, for which products are up to twice as fast.
_MULTIPLE, _NARROWEST = 4, 8
# Steps before the convergence is extrapolated, and steps that no spectrum does without, but one that falls very fast.
_TRIED, _FEWEST = 2, 6


def auto_svd(
    matrix: Tensor | Operator, rank: int, *, seed: int = 0, tolerance: float = 1e-10, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor, str]:
    """Leading singular triplets by the solver that is fastest for this matrix.

    A matrix that is known by its products is iterated, ``randomized``, or where its short side is too short for that
    formed and decomposed. A stored one is decomposed by LAPACK, ``exact``, where it is small. Else the iteration is
    tried where the rank is small: after each step its convergence is extrapolated, and it is given up as soon as the
    Gram matrix, ``gram``, would be done earlier. The Gram matrix loses small singular values: where they count, which
    the decomposition shows, ``exact``.

    Args:
        matrix: One matrix, shape ``(m, n)``, or an operator.
        rank: Number of singular triplets, ``1 <= rank <= min(m, n)``.
        seed: Seed of the iteration.
        tolerance: Largest residual of the iteration relative to ``s_1``.
        dtype: Type that a stored matrix is decomposed in; None for its own.

    Returns:
        ``(u, s, vh, solver)``: as of :func:`eckart.linalg.svd.truncated_svd`, and the name of the solver.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Example:
        >>> u, s, vh, solver = auto_svd(torch.diag(torch.tensor([3.0, 2.0, 1.0])), 2)
        >>> s, solver
        (tensor([3., 2.]), 'exact')
    """
    check_rank(rank, matrix.shape)
    if isinstance(matrix, Operator):
        return *randomized_svd(matrix, rank, seed=seed, tolerance=tolerance), "randomized"
    wanted = matrix.dtype if dtype is None else dtype
    if min(matrix.shape) <= _SMALL:
        return *truncated_svd(matrix.to(wanted), rank), "exact"
    if matrix.shape[0] < matrix.shape[1]:
        v, s, uh, solver = auto_svd(matrix.mT, rank, seed=seed, tolerance=tolerance, dtype=wanted)
        return uh.mT, s, v.mT, solver
    if wanted == torch.float64 and 8 * _block(rank) <= matrix.shape[1]:
        found = _tried(matrix.to(wanted), rank, seed, tolerance)
        if found is not None:
            return *found, "randomized"
    by_gram = _by_gram(matrix, rank)
    if by_gram is not None:
        u, s, vh = (part.to(wanted) for part in by_gram)
        return u, s, vh, "gram"
    return *truncated_svd(matrix.to(wanted), rank), "exact"


def _block(rank: int) -> int:
    return max(_NARROWEST, -(-rank // _MULTIPLE) * _MULTIPLE)


def _tried(matrix: Tensor, rank: int, seed: int, tolerance: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """The triplets by iteration; None where another solver is faster or more accurate."""
    rows, cols = matrix.shape
    block = _block(rank)
    # In units of a multiplication with an addition in a product of large matrices. Narrow products wait for memory:
    # measured is a step of 84 + 3.3 units for each entry.
    step = rows * cols * (84 + 3.3 * block) + 4e7
    budget = (rows * cols**2 + 3.0 * cols**3 + 1e3 * cols**2 + 1e8) / step
    if budget < _FEWEST:
        return None
    history: list[float] = []

    def converged(values: Tensor, residuals: Tensor) -> bool:
        history.append(worst_residual(values, residuals, rank) / tolerance)
        return history[-1] <= 1

    def hopeless(steps: int, values: Tensor, residuals: Tensor) -> bool:
        if not accurate(values[:rank], tolerance):
            return True
        return steps >= _TRIED and too_slow(history, steps, budget)

    found = gram_lanczos(
        lambda x: (x @ matrix.mT) @ matrix,
        cols,
        rank,
        block,
        converged=converged,
        generator=stream(seed, "sketch"),
        like=matrix,
        hopeless=hopeless,
    )
    if not accurate(found.values[:rank], tolerance):
        return _steep(matrix, rank, seed, tolerance)
    if not found.done:
        return None
    return restricted_svd(matrix, found.vectors[:rank].mT)


def _steep(matrix: Tensor, rank: int, seed: int, tolerance: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """The triplets of a spectrum that falls too far for a Gram matrix, by some steps with A and its transpose."""

    def converged(s: Tensor, residuals: Tensor) -> bool:
        return bool(residuals[:rank].max() <= tolerance * s[0])

    generator = stream(seed, "sketch")
    u, s, v, done = block_lanczos(Dense(matrix), _block(rank), generator, converged, 4, like=matrix)
    return (u[:, :rank], s[:rank], v[:, :rank].mT) if done else None


def _by_gram(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """The triplets from the Gram matrix; None where rounding shows in the error of the approximation."""
    cols = matrix.shape[1]
    gram = gram_matrix(matrix)
    total = float(gram.diagonal().sum())
    # Entries of the Gram matrix that overflow, or lose digits to underflow.
    if not torch.finfo(gram.dtype).tiny / torch.finfo(gram.dtype).eps < total < math.inf:
        return None
    values, vectors = leading_eigenpairs(gram, min(rank + 1, cols))
    del gram
    vectors = vectors[:, :rank]
    largest = float(values[0])
    if rank == cols:
        # Nothing is left out: V spans everything, and the triplets of A V are those of A.
        return restricted_svd(matrix, vectors)
    left = total - float(values[:rank].sum())
    # A matrix whose rank is no larger has nothing to lose but what rounding leaves of it.
    enough = float(values[rank]) >= _SEEN**2 * largest and left >= _SEEN**2 * total
    return restricted_svd(matrix, vectors) if enough else None
