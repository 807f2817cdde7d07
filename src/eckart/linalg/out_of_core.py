"""Truncated SVD of a matrix larger than memory, in few passes over it, with proven bounds on its excess."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.blocks import Blocked, Gram, Moments
from eckart.linalg.certificates import FAILURE, Certificate, bounds_of, rounding_of
from eckart.linalg.passes import basis_by_passes, bound_by_passes
from eckart.linalg.ranks import check_rank

GRAM_SIDE = 2000
"""Longest short side whose Gram matrix is formed: a pass then takes at most a few times as long as reading."""
EXCESS = 1e-6
"""Proven excess over the optimum, relative to it, at which nothing further is computed."""
SOLVERS = ("auto", "gram", "randomized")
# Longest short side whose Gram matrix is computed in float64 at once: it takes no longer than reading.
_DOUBLE_SIDE = 256
# Vectors beyond the rank; they tell how far the others are from what is left.
_OVERSAMPLING = 6


@dataclass(frozen=True)
class Leading:
    """What one or more passes found of the leading right singular vectors of T.

    Attributes:
        solver: ``gram`` or ``randomized``.
        v: Orthonormal, shape ``(n, w)``, float64; w is the rank and a few more.
        values: Squares of the Ritz values of a larger basis, nonincreasing; of a Gram matrix all eigenvalues.
        squares: Squared Frobenius norm of T, as far as it is known.
        gram: The Gram matrix; None of a short side that is too long for it.
        outside: Bound of the 2-norm of ``T`` on what is orthogonal to ``v``.
        failure: Probability that ``outside`` is too small.
        seconds: What it took.
        basis: Of the Ritz vectors, shape ``(n, p)``; None where there is a Gram matrix.
        images: ``TᵀT basis``.
    """

    solver: str
    v: Tensor
    values: Tensor
    squares: float
    gram: Gram | None
    outside: float
    failure: float
    seconds: float
    basis: Tensor | None = None
    images: Tensor | None = None


@dataclass(frozen=True)
class Decomposition:
    """A truncated SVD ``long @ short`` of T, and what is proven of it.

    Attributes:
        long: ``T v / s^½``, shape ``(m, k)``, in the type of the file.
        short: ``s^½ vᵀ``, shape ``(k, n)``, float64.
        moments: What the errors of ``long`` are computed from.
        certificate: Bounds of the optimum.
        kept: Sum of the squares of the k largest Ritz values.
    """

    long: Tensor
    short: Tensor
    moments: Moments
    certificate: Certificate
    kept: float

    @property
    def optimum(self) -> tuple[float, float]:
        """Proven bounds of the relative Frobenius error of the best approximation."""
        return self.certificate.optimum(math.sqrt(self.moments.squares))[1]

    @property
    def error(self) -> float:
        """Relative Frobenius error, of the factors as they are stored."""
        return math.sqrt(max(0.0, residual_squares(self.moments, self.short)) / self.moments.squares)


def residual_squares(moments: Moments, short: Tensor) -> float:
    """``‖T − long short‖²`` in the Frobenius norm, from the moments of ``long``."""
    product = float((moments.square * (short @ short.mT)).sum())
    return moments.squares - 2 * float((moments.cross * short.mT).sum()) + product


def leading(operator: Blocked, rank: int, *, solver: str = "auto", seed: int = 0, single: bool = True) -> Leading:
    """Leading right singular vectors of T, by a pass for its Gram matrix, or by passes that refine a random block.

    What was found is kept with the operator, so that who measures and who decomposes do not read the file twice.

    Args:
        operator: The matrix.
        rank: Number of vectors that are asked for.
        solver: ``gram``, ``randomized``, or ``auto``: by the Gram matrix where the short side is at most 2000.
        seed: Draws the random block.
        single: Whether products of float32 numbers may be computed in float32.

    Raises:
        ValueError: If the rank does not fit the shape, or an entry is not finite.

    Example:
        >>> from eckart.linalg.blocks import Stored
        >>> found = leading(Blocked(Stored(torch.diag(torch.arange(5.0, 0, -1)))), rank=2)
        >>> found.values.sqrt().round(decimals=10)
        tensor([5., 4., 3., 2., 1.], dtype=torch.float64)
    """
    check_rank(rank, operator.shape)
    known = operator.memory.get("leading")
    if (
        known is not None
        and known.v.shape[1] >= rank
        and (single or known.gram is None or known.gram.dtype.itemsize == 8)
    ):
        return known
    began, cols = time.perf_counter(), operator.tall.shape[1]
    width = min(rank + _OVERSAMPLING, cols)
    if solver == "gram" or cols < 8 * width or (solver == "auto" and cols <= GRAM_SIDE):
        narrow = single and operator.tall.dtype == torch.float32 and cols > _DOUBLE_SIDE
        found = _by_gram(operator, width, torch.float32 if narrow else torch.float64, began)
    else:
        found = _by_passes(operator, rank, seed, began)
    operator.memory["leading"] = found
    return found


def decompose(operator: Blocked, rank: int, *, solver: str = "auto", seed: int = 0) -> Decomposition:
    r"""Best rank-``rank`` approximation of a matrix larger than memory, with proven bounds on its excess.

    The leading right singular vectors V are found first, see :func:`leading`. One more pass stores ``T V`` and sees in
    float64, whatever they were computed in, how far they are from singular vectors: ``TᵀT V − V Λ``. Bounds of the
    optimum follow from that, and the excess of ``T V Vᵀ`` is of the second order in it. Where a Gram matrix in float32
    does not prove an excess of at most 1e-6 of the optimum, it is computed again in float64.

    Args:
        operator: The matrix.
        rank: ``1 <= rank <= min(m, n)``.
        solver: As of :func:`leading`.
        seed: As of :func:`leading`.

    Raises:
        ValueError: If the rank does not fit the shape, or an entry is not finite.

    Example:
        >>> from eckart.linalg.blocks import Stored
        >>> found = decompose(Blocked(Stored(torch.diag(torch.tensor([4.0, 2.0, 1.0])))), rank=1)
        >>> round(found.error, 6), [round(bound, 6) for bound in found.optimum]
        (0.48795, [0.48795, 0.48795])
    """
    found = leading(operator, rank, solver=solver, seed=seed)
    if found.gram is not None and found.gram.dtype == torch.float32 and _is_close(found, rank):
        found = leading(operator, rank, solver=solver, seed=seed, single=False)
    result = _projected(operator, found, rank)
    low = result.optimum[0]
    if found.gram is not None and found.gram.dtype == torch.float32 and result.error - low > EXCESS * low + 1e-12:
        result = _projected(operator, leading(operator, rank, solver=solver, seed=seed, single=False), rank)
    # The factor itself is kept too, so that no other can take its place in memory and be taken for it.
    operator.memory["measured"] = result.long, result.moments
    operator.memory["certificate"] = result.certificate
    operator.memory["kept"] = result.kept
    return result


def _by_gram(operator: Blocked, width: int, dtype: torch.dtype, began: float) -> Leading:
    gram = operator.gram(dtype)
    values, vectors = torch.linalg.eigh(gram.matrix)
    values, v = values.flip(0).clamp(min=0), vectors[:, -width:].flip(1).contiguous()
    squares = float(gram.matrix.trace())
    rest = float(values[width]) if width < len(values) else 0.0
    # The computed eigenvectors are orthonormal to roundoff, so that what is orthogonal to them is known as well.
    slack = gram.error * squares + 64 * torch.finfo(torch.float64).eps * math.sqrt(len(values)) * float(values[0])
    outside = math.sqrt(rest + slack) if width < len(values) else 0.0
    return Leading("gram", v, values, squares, gram, outside, 0.0, time.perf_counter() - began)


def _by_passes(operator: Blocked, rank: int, seed: int, began: float) -> Leading:
    width = rank + _OVERSAMPLING
    ritz = basis_by_passes(operator, rank, width, seed=seed, excess=EXCESS)
    values = ritz.values
    last, after = float(values[rank - 1].sqrt()), float(values[width].sqrt()) if len(values) > width else 0.0
    # What is left has to be told from what is kept; halfway between the two there is no more to gain.
    outside = bound_by_passes(operator, ritz.v, seed=seed, enough=lambda bound: bound <= (last + after) / 2)
    seconds = time.perf_counter() - began
    kept = {"basis": ritz.basis, "images": ritz.images}
    return Leading("randomized", ritz.v, values, ritz.squares, None, outside, FAILURE, seconds, **kept)


def _is_close(found: Leading, rank: int) -> bool:
    """Whether float32 is known beforehand not to tell the vectors that are kept from what is left."""
    assert found.gram is not None
    width = found.v.shape[1]
    after = found.values[width] if width < len(found.values) else 0.0
    return float(found.values[rank - 1] - after) <= 2 * found.gram.error * found.squares


def _projected(operator: Blocked, found: Leading, rank: int) -> Decomposition:
    roots = found.values[:rank].sqrt().sqrt()
    usable = roots > roots[0] * torch.finfo(torch.float64).eps ** 0.5
    unit = torch.where(usable, 1 / roots, 0)
    dtype = operator.tall.dtype
    long, images, moments = operator.project(found.v, rank, unit, dtype)
    short = torch.where(usable, roots, 0)[:, None] * found.v[:, :rank].mT
    inside = found.v.mT @ images
    values, turn = torch.linalg.eigh((inside + inside.mT) / 2)
    values, turn = values.flip(0).clamp(min=0), turn.flip(1)
    s, v = values.sqrt(), found.v @ turn
    coupling = torch.linalg.vector_norm(images @ turn - v * values, dim=0)
    residuals = torch.where(s > 0, coupling / s, 0)
    rounding = rounding_of(operator.shape) * float(s[0])
    certificate = bounds_of(s, residuals, rank, outside=found.outside, rounding=rounding, failure=found.failure)
    return Decomposition(long, short, moments, certificate, float(values[:rank].sum()))
