"""Norms of a residual ``target - left @ right`` that is not stored as a whole."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from eckart.linalg.krylov import block_lanczos
from eckart.linalg.operators import Dense, Residual
from eckart.linalg.random import stream

# If the smaller side is larger than this, Krylov iteration is faster than the Gram matrix of the residual.
EXACT_SIDE = 1024

# Largest number of entries of a residual that are in memory at a time.
CHUNK = 2**20


def residual_norms(target: Tensor, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
    r"""Spectral and Frobenius norm of ``target - left @ right``, without storing it as a whole where it is large.

    The residual is computed entry by entry, some rows at a time, and not from an expansion of the square, which cancels
    where the fit is good. Up to ``min(m, n) = 1024`` its Gram matrix is accumulated and decomposed; for larger sides a
    block Krylov iteration on ``x -> target @ x - left @ (right @ x)`` runs until its error bound is small enough.

    Args:
        target: Real floating point, shape ``(..., m, n)``. Leading dimensions of all three broadcast.
        left: Shape ``(..., m, k)``, in the dtype and on the device of ``target``.
        right: Shape ``(..., k, n)``, in the same dtype and on the same device. With ``k = 0`` the norms are those of
            ``target``.
        tolerance: Largest relative error of a spectral norm that is iterated.

    Returns:
        ``(two_norm, frobenius)``, each of shape ``(...)``, in the units of ``target``. Both are inf or nan where the
        residual is not finite, so that a diverged member of a stack does not affect the others.

    Note:
        Roundoff adds up to a few ``eps * (||target|| + ||left|| * ||right||)`` to either norm, whatever the tolerance:
        a residual smaller than that is noise. The iteration starts from a fixed random stream, so that equal calls give
        equal results.

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
    n = target.shape[-1]
    if n <= EXACT_SIDE:
        gram = target.new_zeros(*batch, n, n)
        for chunk in _chunks(target, left, right):
            gram += chunk.mT @ chunk
        frobenius = gram.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        finite = frobenius.isfinite()
        largest = torch.linalg.eigvalsh(torch.where(finite[..., None, None], gram, 0))[..., -1]
        return torch.where(finite, largest.clamp(min=0).sqrt(), frobenius), frobenius

    frobenius = residual_squares(target, left, right).sqrt()
    # The number of members is given, because -1 is ambiguous where k is 0.
    members = zip(
        *(part.reshape(batch.numel(), *part.shape[-2:]) for part in (target, left, right)),
        strict=True,
    )
    two_norms = [
        _residual_two_norm(member[0], member[1], member[2], tolerance) if norm.isfinite() and norm > 0 else norm
        for member, norm in zip(members, frobenius.flatten(), strict=True)
    ]
    return torch.stack(two_norms).reshape(batch), frobenius


def residual_squares(target: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Squared Frobenius norm of ``target - left @ right``, entry by entry, without storing it as a whole.

    Args:
        target: Shape ``(..., m, n)``.
        left: Shape ``(..., m, k)``; in its dtype the residual is computed.
        right: Shape ``(..., k, n)``.

    Example:
        >>> left, right = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0, 0.0]])
        >>> residual_squares(torch.diag(torch.tensor([1.0, 2.0])), left, right)
        tensor(4.)
    """
    squares = [chunk.square().sum((-2, -1)) for chunk in _chunks(target, left, right)]
    return torch.stack(squares).sum(0)


def _chunks(target: Tensor, left: Tensor, right: Tensor) -> Iterator[Tensor]:
    rows = max(1, CHUNK // target.shape[-1])
    for part, own in zip(target.split(rows, dim=-2), left.split(rows, dim=-2), strict=True):
        yield part.to(left) - own @ right


def _residual_two_norm(target: Tensor, left: Tensor, right: Tensor, tolerance: float) -> Tensor:
    norms = [torch.linalg.matrix_norm(part) for part in (target, left, right)]
    noise = 4 * torch.finfo(target.dtype).eps * (norms[0] + norms[1] * norms[2])
    max_iterations = 1000

    def converged(s: Tensor, residuals: Tensor) -> bool:
        # The error of the value is at most its residual r, and at most r_p^2 / gap if a gap separates the p leading
        # values from the others. The others are known to about one digit only, hence the factor 10.
        joint = residuals.square().cumsum(0)[:-1]
        gaps = (s[0] - s[1:]).clamp(min=torch.finfo(s.dtype).tiny)
        error = torch.minimum(residuals[0], 10 * (joint / gaps).min())
        return bool(error <= torch.maximum(tolerance * s[0], noise))

    residual = Residual(Dense(target), left, right)
    _, s, _, done = block_lanczos(residual, 8, stream(0, "residual"), converged, max_iterations, like=target)
    if not done:
        warnings.warn(
            f"The spectral norm of a residual must converge to {tolerance:.1e} within {max_iterations} iterations. "
            "Found that it did not.",
            RuntimeWarning,
            stacklevel=3,
        )
    return s[0]
