"""Errors of an approximation in factored form, and how far they are above the best."""

import torch
from torch import Tensor

from lowrank.krylov import residual_norms


def errors_of(
    target: Tensor,
    left: Tensor,
    right: Tensor,
    spectrum: Tensor,
    best: tuple[Tensor, Tensor],
    *,
    tolerance: float = 1e-12,
) -> dict[str, Tensor]:
    """Relative errors of ``left @ right`` in both norms, and their excess over the best; leading dimensions as given.

    Args:
        target: Shape ``(..., m, n)``, float64.
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.
        spectrum: Singular values of the target, shape ``(..., min(m, n))``.
        best: Relative errors of the best approximation, each of shape ``(...)``.
        tolerance: Relative accuracy of the 2-norm where the target is so large that it is iterated.
    """
    two_norm, frobenius = residual_norms(target, left, right, tolerance=tolerance)
    errors = {
        "relative_2norm": two_norm / spectrum[..., 0],
        "relative_frobenius": frobenius / torch.linalg.vector_norm(spectrum, dim=-1),
    }
    errors["excess_2norm"] = errors["relative_2norm"] - best[0]
    errors["excess_frobenius"] = errors["relative_frobenius"] - best[1]
    return errors
