"""Leading singular vectors where the short side is too long for a Gram matrix: each step is one pass over the file."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.blocks import Blocked
from eckart.linalg.certificates import bounds_of
from eckart.linalg.gram_lanczos import probe_outside
from eckart.linalg.random import stream

# Passes after which the best vectors so far are taken.
_MAX_PASSES = 60
# Gaussian vectors of the bound of what is left; many are needed, for a pass costs more than they do.
_PROBES = 32
_MAX_STEPS = 10


@dataclass(frozen=True)
class Ritz:
    """Ritz vectors of ``TᵀT``.

    Attributes:
        v: The leading ones, orthonormal, shape ``(n, width)``, float64.
        values: All Ritz values, nonincreasing.
        squares: Squared Frobenius norm of T.
        basis: The basis, orthonormal, shape ``(n, p)``.
        images: ``TᵀT basis``.
    """

    v: Tensor
    values: Tensor
    squares: float
    basis: Tensor
    images: Tensor


def basis_by_passes(operator: Blocked, rank: int, width: int, *, seed: int, excess: float) -> Ritz:
    """Ritz vectors of ``TᵀT`` by block Krylov iteration from a random block, one pass over T in each step.

    The basis and its images are both kept, so that Ritz values and residuals are computed from products and not from a
    recurrence; it is restarted with its best vectors, and has at most ``8 width`` vectors. The iteration stops where
    the residuals allow no more than a tenth of the excess, if what is left is as large as the Ritz values say.

    Args:
        operator: The matrix.
        rank: Vectors that are asked for.
        width: Vectors of a block, at least the rank.
        seed: Draws the first block.
        excess: Excess over the optimum that is allowed, relative to it.

    Returns:
        The Ritz vectors, and the basis that they are of.

    Warns:
        RuntimeWarning: If that takes more than 60 passes; the best vectors so far are returned.

    References:
        Musco & Musco, NeurIPS 2015; Halko, Martinsson, Shkolnisky & Tygert, SIAM J. Sci. Comput. 33(5), 2011.
    """
    cols = operator.tall.shape[1]
    draws = torch.randn(cols, width, generator=stream(seed, "sketch"), dtype=torch.float64)
    block = torch.linalg.qr(draws).Q
    basis, images = block[:, :0], block[:, :0]
    for step in range(1, _MAX_PASSES + 1):
        found, squares = operator.gram_products(block)
        basis, images = torch.cat([basis, block], dim=1), torch.cat([images, found], dim=1)
        inside = basis.mT @ images
        values, turn = torch.linalg.eigh((inside + inside.mT) / 2)
        values, turn = values.flip(0).clamp(min=0), turn.flip(1)
        v = basis @ turn[:, :width]
        coupling = torch.linalg.vector_norm(images @ turn[:, :width] - v * values[:width], dim=0)
        if step > 1 and _is_done(values, coupling, rank, squares, excess):
            break
        # Towards what the last images have outside of the basis; three times, for it can be next to nothing.
        for _ in range(3):
            found = torch.linalg.qr(found - basis @ (basis.mT @ found)).Q
        block = found
        if step < _MAX_PASSES and basis.shape[1] + width > min(8 * width, cols):
            basis, images = basis @ turn[:, : 2 * width], images @ turn[:, : 2 * width]
    else:
        law = f"The excess must be bounded by {excess:.0e} within {_MAX_PASSES} passes"
        warnings.warn(f"{law}. Found singular values closer to each other.", RuntimeWarning, stacklevel=2)
    return Ritz(v, values, squares, basis, images)


def bound_by_passes(operator: Blocked, v: Tensor, *, seed: int, enough: Callable[[float], bool]) -> float:
    """Upper bound of ``‖T (I − VVᵀ)‖``, as of :func:`eckart.linalg.gram_lanczos.probe_outside`, a pass in each step.

    Args:
        operator: The matrix.
        v: Orthonormal columns V, shape ``(n, w)``.
        seed: Draws the probes.
        enough: Whether a bound is as small as is needed; 10 steps are taken at most.
    """

    def product(rows: Tensor) -> Tensor:
        return operator.gram_products(rows.mT)[0].mT

    return probe_outside(product, v, probes=_PROBES, steps=_MAX_STEPS, seed=seed, enough=enough)[0]


def _is_done(values: Tensor, coupling: Tensor, rank: int, squares: float, excess: float) -> bool:
    width = len(coupling)
    s = values[:width].sqrt()
    if len(values) == width or not float(s[rank - 1]) > 0:
        return True
    if float(coupling[:rank].max()) <= 1e-13 * float(values[0]):
        return True
    after = float(values[width].sqrt()) if len(values) > width else 0.0
    kept = bounds_of(s, torch.where(s > 0, coupling / s, 0), rank, outside=after, rounding=0.0)
    left = max(squares - float(values[:rank].sum()), 0.0)
    # A relative excess of the error is half of that of its square.
    return kept.missed <= 2 * (0.1 * excess) * left
