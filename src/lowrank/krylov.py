"""Leading singular triplets from products with a matrix alone, and the norms of a residual that is never formed."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lowrank.linalg import check_rank, truncated_svd
from lowrank.streams import stream

# Beyond this smaller side, Krylov iteration takes less time than the Gram matrix of the residual.
EXACT_SIDE = 1024
# Numbers of a residual that are held at a time.
CHUNK = 2**20


def randomized_svd(
    matrix: Tensor,
    rank: int,
    *,
    seed: int = 0,
    oversampling: int = 10,
    tolerance: float = 1e-10,
    max_iterations: int = 1000,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Leading singular triplets by block Krylov iteration from a random sketch, iterated to a certificate.

    The iteration goes on until every kept triplet satisfies ``||A.T u_i - s_i v_i|| <= tolerance * s_1``, while
    ``A v_i = s_i u_i`` and orthonormality hold to roundoff. So each ``s_i`` lies within ``tolerance * s_1`` of a
    singular value, and the approximation is as good as :func:`lowrank.linalg.truncated_svd` also where the spectrum
    decays slowly, which a fixed number of power iterations does not give. Singular values may repeat up to
    ``rank + oversampling`` times, and may vanish. The basis is restarted with its best triplets and stays within
    ``8 * (rank + oversampling)`` vectors. The result depends on the matrix and the seed alone.

    Args:
        matrix: Real floating point, shape ``(..., m, n)``; the members of a batch are taken one after another.
        rank: Number of singular triplets kept, ``1 <= rank <= min(m, n)``.
        seed: Seed of the sketch.
        oversampling: Vectors of the sketch beyond ``rank``; more of them converge in fewer iterations.
        tolerance: Largest residual relative to ``s_1``. What roundoff allows is its floor, 16 ``eps`` of the dtype.
        max_iterations: Block steps after which the best triplets so far are returned with a warning.

    Returns:
        ``(u, s, vh)`` as of :func:`lowrank.linalg.truncated_svd`.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Warns:
        RuntimeWarning: If ``max_iterations`` is hit; it states the residual that was reached.

    Note:
        A matrix with fewer than ``5 * (rank + oversampling)`` rows or columns is decomposed exactly, which is faster.
        Otherwise ``O(m n (rank + oversampling))`` per iteration. That the triplets found are the *leading* ones holds
        with probability one over the sketch.

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
        return truncated_svd(matrix, rank)
    tolerance = max(tolerance, 16 * torch.finfo(matrix.dtype).eps)

    def converged(s: Tensor, residuals: Tensor) -> bool:
        return bool(residuals[:rank].max() <= tolerance * s[0])

    members = []
    for member in matrix.reshape(-1, *matrix.shape[-2:]):
        operator = _Operator(member.matmul, member.mT.matmul, member)
        u, s, v, done = _block_lanczos(operator, width, stream(seed, "sketch"), converged, max_iterations)
        u, s, v = u[:, :rank], s[:rank], v[:, :rank]
        if not done:
            certificate = torch.linalg.vector_norm(member.mT @ u - v * s, dim=0).max() / s[0]
            warnings.warn(
                f"The relative residual must fall to {tolerance:.1e} within max_iterations = {max_iterations}. "
                f"Found {certificate.item():.1e}.",
                RuntimeWarning,
                stacklevel=2,
            )
        members.append((u, s, v.mT))
    u, s, vh = (torch.stack(parts).reshape(*matrix.shape[:-2], *parts[0].shape) for parts in zip(*members, strict=True))
    return u, s, vh


def residual_norms(target: Tensor, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
    r"""Spectral and Frobenius norm of ``target - left @ right``, without forming it where it is large.

    The residual is computed entry by entry, some rows at a time, never from an expansion of the square, which would
    cancel where the fit is good. Up to ``min(m, n) = 1024`` its Gram matrix is summed up and decomposed; beyond, a
    block Krylov iteration on ``x -> target @ x - left @ (right @ x)`` runs until its error bound is met.

    Args:
        target: Real floating point, shape ``(..., m, n)``. Leading dimensions of all three broadcast.
        left: Shape ``(..., m, k)``, in the dtype and on the device of ``target``.
        right: Shape ``(..., k, n)``, likewise. With ``k = 0`` the norms are those of ``target``.
        tolerance: Largest relative error of an iterated spectral norm.

    Returns:
        ``(two_norm, frobenius)``, each of shape ``(...)``, in the units of ``target``. Both are inf or nan where the
        residual is not finite, so that a diverged member of a stack does not stop the others.

    Note:
        Roundoff adds up to a few ``eps * (||target|| + ||left|| * ||right||)`` to either norm, whatever the tolerance:
        a residual smaller than that is noise. The iteration starts from a fixed stream, so calls repeat.

    Example:
        >>> left, right = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0, 0.0]])
        >>> residual_norms(torch.diag(torch.tensor([1.0, 2.0])), left, right)
        (tensor(2.), tensor(2.))

    References:
        Golub & Kahan, SIAM J. Numer. Anal. 2(2), 1965; Mathias, SIAM J. Matrix Anal. Appl. 19(2), 1998 (error bound).
    """
    batch = (target[..., :1, :1] + left[..., :1, :0] @ right[..., :0, :1]).shape[:-2]
    target, left, right = (part.expand(*batch, *part.shape[-2:]) for part in (target, left, right))
    if target.shape[-2] < target.shape[-1]:
        target, left, right = target.mT, right.mT, left.mT
    m, n = target.shape[-2:]
    rows = max(1, CHUNK // n)
    spans = (slice(start, start + rows) for start in range(0, m, rows))
    chunks = (target[..., span, :] - left[..., span, :] @ right for span in spans)
    if n <= EXACT_SIDE:
        gram = target.new_zeros(*batch, n, n)
        for chunk in chunks:
            gram += chunk.mT @ chunk
        frobenius = gram.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        finite = frobenius.isfinite()
        largest = torch.linalg.eigvalsh(torch.where(finite[..., None, None], gram, 0))[..., -1]
        return torch.where(finite, largest.clamp(min=0).sqrt(), frobenius), frobenius

    squares = target.new_zeros(batch)
    for chunk in chunks:
        squares += chunk.square().sum((-2, -1))
    frobenius = squares.sqrt()
    members = zip(
        target.reshape(-1, m, n), left.reshape(-1, *left.shape[-2:]), right.reshape(-1, *right.shape[-2:]), strict=True
    )
    two_norms = [
        _residual_two_norm(*member, tolerance=tolerance) if norm.isfinite() and norm > 0 else norm
        for member, norm in zip(members, frobenius.flatten(), strict=True)
    ]
    return torch.stack(two_norms).reshape(batch), frobenius


def _residual_two_norm(target: Tensor, left: Tensor, right: Tensor, tolerance: float) -> Tensor:
    norms = [torch.linalg.matrix_norm(part) for part in (target, left, right)]
    noise = 4 * torch.finfo(target.dtype).eps * (norms[0] + norms[1] * norms[2])
    max_iterations = 1000

    def converged(s: Tensor, residuals: Tensor) -> bool:
        # The value errs by no more than its residual r and, if the p leading values are apart from the rest by a gap,
        # by no more than r_p^2 / gap: the second holds once the rest is known to a digit, hence the factor 10.
        joint = residuals.square().cumsum(0)[:-1]
        gaps = (s[0] - s[1:]).clamp(min=torch.finfo(s.dtype).tiny)
        error = torch.minimum(residuals[0], 10 * (joint / gaps).min())
        return bool(error <= torch.maximum(tolerance * s[0], noise))

    operator = _Operator(
        lambda x: target @ x - left @ (right @ x), lambda y: target.mT @ y - right.mT @ (left.mT @ y), target
    )
    _, s, _, done = _block_lanczos(operator, 8, stream(0, "residual"), converged, max_iterations)
    if not done:
        warnings.warn(
            f"The spectral norm of a residual must converge to {tolerance:.1e} within {max_iterations} iterations. "
            "Found that it did not.",
            RuntimeWarning,
            stacklevel=3,
        )
    return s[0]


class _Operator(NamedTuple):
    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    like: Tensor


def _block_lanczos(
    operator: _Operator,
    width: int,
    generator: torch.Generator,
    converged: Callable[[Tensor, Tensor], bool],
    max_iterations: int,
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Golub-Kahan-Lanczos by blocks, fully reorthogonalized, restarted thick; all Ritz triplets of the last basis."""
    apply, adjoint, like = operator
    m, n = like.shape
    largest = min(8 * width, min(m, n) - width)
    right = block = torch.linalg.qr(torch.randn(n, width, generator=generator, dtype=like.dtype).to(like.device)).Q
    left, core = like.new_empty(m, 0), like.new_empty(0, 0)
    iteration = 0
    while True:
        iteration += 1
        # left @ core = A @ right, and A.T @ left = right @ core.T, but for the last block's remainder.
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
    # Directions that the basis already holds are replaced by random ones: the width stays, and nothing is missed.
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
