"""Leading singular triplets of a matrix, computed from products with it."""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from eckart.linalg.gram_lanczos import Product, gram_lanczos, probe_outside, worst_residual
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import truncated_svd
from eckart.linalg.tall_svd import tall_svd


def randomized_svd(
    matrix: Tensor | Operator,
    rank: int,
    *,
    seed: int = 0,
    oversampling: int = 10,
    tolerance: float = 1e-10,
    max_iterations: int = 1000,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Leading singular triplets by block Krylov iteration from a random sketch, iterated to a certificate.

    The iteration stops when every kept triplet satisfies ``||A.T u_i - s_i v_i|| <= tolerance * s_1``, while
    ``A v_i = s_i u_i`` and orthonormality hold to roundoff. So each ``s_i`` is within ``tolerance * s_1`` of a singular
    value, and the approximation is as good as :func:`eckart.linalg.svd.truncated_svd` also for a spectrum that decays
    slowly, where a fixed number of power iterations is inaccurate. A singular value may occur up to
    ``rank + oversampling`` times, and may be zero. The result depends only on the matrix and the seed.

    It iterates with ``AᵀA`` on the shorter side of A, without a vector of the longer one; where a wanted singular value
    is so small that its square is lost in rounding, with A and its transpose (:func:`block_lanczos`).

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; the members of a batch are processed one at a time.
        rank: Number of singular triplets kept, ``1 <= rank <= min(m, n)``.
        seed: Seed of the sketch.
        oversampling: Vectors of the sketch beyond ``rank``; more of them converge in fewer iterations.
        tolerance: Largest residual relative to ``s_1``; at least 16 ``eps`` of the dtype, the roundoff.
        max_iterations: Largest number of block steps, after which the best triplets so far are returned, with a
            warning.

    Returns:
        ``(u, s, vh)`` as of :func:`eckart.linalg.svd.truncated_svd`.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Warns:
        RuntimeWarning: If ``max_iterations`` is reached; it states the residual of the result.

    Note:
        A matrix with fewer than ``5 * (rank + oversampling)`` rows or columns is decomposed exactly, which is faster.
        Otherwise ``O(m n (rank + oversampling))`` per iteration. The triplets found are the *leading* ones with
        probability one over the sketch.

    Example:
        >>> matrix = torch.diag(torch.arange(100, 0, -1.0, dtype=torch.float64))
        >>> u, s, vh = randomized_svd(matrix, rank=3)
        >>> s.round(decimals=10)
        tensor([100.,  99.,  98.], dtype=torch.float64)

    References:
        Halko, Martinsson & Tropp, SIAM Rev. 53(2), 2011; Musco & Musco, NeurIPS 2015 (block Krylov);
        Baglama & Reichel, SIAM J. Sci. Comput. 27(1), 2005 (restarted bidiagonalization).
    """
    check_rank(rank, matrix.shape)
    width = rank + oversampling
    if min(matrix.shape[-2:]) < 5 * width:
        if isinstance(matrix, Tensor):
            return truncated_svd(matrix, rank)
        u, s, vh = truncated_svd(matrix.dense()[0], rank)
        return u, s, vh
    if isinstance(matrix, Operator):
        return _leading(matrix, rank, width, seed, tolerance, max_iterations, like=torch.empty(0, dtype=torch.float64))
    members = [
        _leading(Dense(member), rank, width, seed, tolerance, max_iterations, like=member)
        for member in matrix.reshape(-1, *matrix.shape[-2:])
    ]
    u, s, vh = (torch.stack(parts).reshape(*matrix.shape[:-2], *parts[0].shape) for parts in zip(*members, strict=True))
    return u, s, vh


def accurate(values: Tensor, tolerance: float) -> bool:
    """Whether residuals of ``tolerance * s_1`` can be told from the rounding of ``AᵀA``, from its eigenvalues.

    Example:
        >>> accurate(torch.tensor([1.0, 1e-4]).double(), 1e-10), accurate(torch.tensor([1.0, 1e-12]).double(), 1e-10)
        (True, False)
    """
    # The values can be so large that their products overflow; all are zero where they underflow.
    share = float(values[-1] / values[0]) if values[0] > 0 else 0.0
    return tolerance * math.sqrt(share) >= 20 * torch.finfo(values.dtype).eps


def _leading(
    operator: Operator, rank: int, width: int, seed: int, tolerance: float, max_iterations: int, *, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    tolerance = max(tolerance, 16 * torch.finfo(like.dtype).eps)
    found = _from_gram(operator, rank, width, seed, tolerance, max_iterations, like)
    if found is not None:
        return found

    def converged(s: Tensor, residuals: Tensor) -> bool:
        return bool(residuals[:rank].max() <= tolerance * s[0])

    u, s, v, done = block_lanczos(operator, width, stream(seed, "sketch"), converged, max_iterations, like=like)
    u, s, v = u[:, :rank], s[:rank], v[:, :rank]
    if not done:
        _warn(operator, u, s, v, tolerance, max_iterations)
    return u, s, v.mT


def _from_gram(
    operator: Operator, rank: int, width: int, seed: int, tolerance: float, max_iterations: int, like: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The triplets from an iteration with ``AᵀA`` on the shorter side; None where that is not accurate enough."""
    rows, cols = operator.shape
    flat = rows < cols
    block = min(width, operator.narrow or width)

    def product(x: Tensor) -> Tensor:
        if flat:
            return operator.images(operator.transpose_images(x[None]))[0]
        return operator.gram_images(x[None])[0]

    def converged(values: Tensor, residuals: Tensor) -> bool:
        return worst_residual(values, residuals, rank) <= tolerance

    def hopeless(steps: int, values: Tensor, residuals: Tensor) -> bool:
        return not accurate(values[:rank], tolerance)

    found = gram_lanczos(
        product,
        min(rows, cols),
        rank,
        block,
        converged=converged,
        generator=stream(seed, "sketch"),
        like=like,
        max_steps=max_iterations,
        hopeless=hopeless,
    )
    if not accurate(found.values[:rank], tolerance):
        return None
    short = found.vectors[:rank]
    images = (operator.transpose_images(short[None]) if flat else operator.images(short[None]))[0].mT
    long, s, qh = tall_svd(images)
    short = (qh @ short).mT
    u, v = (short, long) if flat else (long, short)
    if block < width and _more_outside(product, s, short):
        return None
    if not found.done:
        _warn(operator, u, s, v, tolerance, max_iterations)
    return u, s, v.mT


def _more_outside(product: Product, s: Tensor, short: Tensor) -> bool:
    """Whether a larger value was missed, as copies of one can be that is there more often than a block is wide."""
    found = probe_outside(product, short, probes=2, steps=10)[1]
    return bool(found > s[-1] * (1 + 1e-6))


def _warn(operator: Operator, u: Tensor, s: Tensor, v: Tensor, tolerance: float, max_iterations: int) -> None:
    images, back = operator.transpose_images(u.mT[None])[0].mT, operator.images(v.mT[None])[0].mT
    norms = [torch.linalg.vector_norm(part, dim=0).max() for part in (images - v * s, back - u * s)]
    warnings.warn(
        f"The relative residual must fall to {tolerance:.1e} within max_iterations = {max_iterations}. "
        f"Found {(max(norms) / s[0]).item():.1e}.",
        RuntimeWarning,
        stacklevel=4,
    )


def block_lanczos(
    operator: Operator,
    width: int,
    generator: torch.Generator,
    converged: Callable[[Tensor, Tensor], bool],
    max_iterations: int,
    *,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Block Golub-Kahan-Lanczos bidiagonalization with full reorthogonalization and thick restarts.

    Args:
        operator: A single matrix A, shape ``(m, n)`` with ``min(m, n) >= 2 * width``.
        width: Vectors in a block.
        generator: Draws the first block, and replacements for directions that are exhausted.
        converged: Whether to stop, from the Ritz values and the norms of ``A.T u_i - s_i v_i`` of all Ritz triplets.
        max_iterations: Largest number of block steps.
        like: Any tensor of the dtype and on the device that are computed in.

    Returns:
        ``(u, s, v, done)``: all Ritz triplets of the last basis, as columns, and whether ``converged`` said to stop.
    """
    m, n = operator.shape

    def apply(x: Tensor) -> Tensor:
        return operator.images(x.mT[None])[0].mT

    def adjoint(y: Tensor) -> Tensor:
        return operator.transpose_images(y.mT[None])[0].mT

    largest = min(8 * width, min(m, n) - width)
    right = block = torch.linalg.qr(torch.randn(n, width, generator=generator, dtype=like.dtype).to(like.device)).Q
    left, core = like.new_empty(m, 0), like.new_empty(0, 0)
    iteration = 0
    while True:
        iteration += 1
        # left @ core = A @ right, and A.T @ left = right @ core.T except for the remainder of the last block.
        coupling, new_left, corner = _split(apply(block), left, generator)
        core = torch.nn.functional.pad(torch.cat([core, coupling], dim=1), (0, 0, 0, width))
        core[-width:, -width:] = corner
        left = torch.cat([left, new_left], dim=1)
        _, block, remainder = _split(adjoint(new_left), right, generator)
        full = right.shape[1] + width > largest
        if full or iteration % 2 == 0 or iteration >= max_iterations:
            p, s, qh = torch.linalg.svd(core)
            done = converged(s, torch.linalg.vector_norm(remainder @ p[-width:], dim=0))
            if done or iteration >= max_iterations:
                return left @ p, s, right @ qh.mT, done
            if full:
                kept = 2 * width
                left, right, core = left @ p[:, :kept], right @ qh[:kept].mT, torch.diag(s[:kept])
        right = torch.cat([right, block], dim=1)


def _split(block: Tensor, basis: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """``block`` as ``basis @ coefficients + fresh @ remainder``, with ``[basis, fresh]`` orthonormal to roundoff."""
    coefficients = basis.mT @ block
    rest = block - basis @ coefficients
    fresh, triangle = torch.linalg.qr(rest)
    p, s, qh = torch.linalg.svd(triangle)
    fresh, remainder = fresh @ p, s[:, None] * qh
    # Directions that the basis already spans are replaced by random ones, so that the block keeps its width.
    spent = s <= 10 * torch.finfo(s.dtype).eps * torch.linalg.matrix_norm(block)
    count = int(spent.sum())
    if count:
        noise = torch.randn(fresh.shape[0], count, generator=generator, dtype=fresh.dtype)
        fresh[:, spent], remainder[spent] = noise.to(fresh.device), 0
    for _ in range(2):
        inside = basis.mT @ fresh
        coefficients += inside @ remainder
        fresh, turn = torch.linalg.qr(fresh - basis @ inside)
        remainder = turn @ remainder
    return coefficients, fresh, remainder
