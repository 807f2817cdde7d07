"""Leading eigenvectors of a Gram matrix that is known by its products alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.certificates import FAILURE, christoffel_bound
from eckart.linalg.random import stream

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ritz:
    """What a block Lanczos iteration found.

    Attributes:
        values: All Ritz values, nonincreasing, shape ``(d,)``.
        vectors: Ritz vectors as rows, those that were asked for and some more, shape ``(p, n)`` with ``p <= d``.
        residuals: Norms of ``B x_i − θ_i x_i`` for each value, shape ``(d,)``.
        steps: Block products that it took.
        done: Whether it converged.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    steps: int
    done: bool


def gram_lanczos(
    product: Product,
    size: int,
    rank: int,
    block: int,
    *,
    converged: Callable[[Tensor, Tensor], bool],
    generator: torch.Generator,
    like: Tensor,
    max_steps: int = 1000,
    hopeless: Callable[[int, Tensor, Tensor], bool] | None = None,
) -> Ritz:
    """Block Lanczos iteration with full orthogonalization and thick restarts.

    Only vectors of one side are kept, and none of the long side of a tall matrix. An eigenvalue that occurs more often
    than ``block`` times can be missed.

    Args:
        product: ``B x`` of rows x, shape ``(block, n)`` to the same, for a symmetric positive semidefinite B.
        size: Order n of B, at least ``3 * block``.
        rank: Eigenvectors that are asked for.
        block: Vectors in a block.
        converged: Whether to stop, from the Ritz values and the norms of their residuals, both in a unit of about the
            largest value: no product of two of them overflows.
        generator: Draws the first block, and replacements for directions that are exhausted.
        like: Any tensor of the dtype and on the device that are computed in.
        max_steps: Largest number of block products.
        hopeless: Whether to give up, from the number of steps, the Ritz values and the norms of their residuals.

    Returns:
        What was found; all values are 0, and it is not done, where B is so large or small that its products overflow
        or underflow, and where it is zero.

    Example:
        >>> diagonal = torch.arange(100.0, 0, -1).double()
        >>> def close(values, residuals):
        ...     return bool(residuals[:2].max() < 1e-8)
        >>> options = {"converged": close, "generator": torch.Generator().manual_seed(0), "like": diagonal}
        >>> gram_lanczos(lambda x: x * diagonal, 100, 2, 4, **options).values[:2].round(decimals=8)
        tensor([100.,  99.], dtype=torch.float64)

    References:
        Wu & Simon, SIAM J. Matrix Anal. Appl. 22(2), 2000 (thick restarts); Golub & Underwood, 1977 (blocks).
    """
    largest = min(max(3 * rank + 6 * block, 240), size - block)
    basis = like.new_empty(largest + block, size)
    # On the CPU, wherever the vectors are: an accelerator takes far longer to decompose so small a matrix.
    core = torch.zeros(largest, largest, dtype=like.dtype)
    basis[:block] = _orthonormal(_noise(block, size, generator, like), basis[:0], generator)[0]
    used = steps = 0
    images = product(basis[:block])
    unit = float(images.abs().max())
    if not torch.finfo(like.dtype).tiny / torch.finfo(like.dtype).eps < unit < math.inf:
        none = like.new_zeros(max(rank, block))
        return Ritz(none, basis[:block], none, 1, False)
    while True:
        images = (images if steps == 0 else product(basis[used : used + block])) / unit
        steps, first, used = steps + 1, used, used + block
        known = basis[:used]
        coefficients = images @ known.mT
        rest = images - coefficients @ known
        again = rest @ known.mT
        coefficients += again
        core[first:used, :used] = coefficients = coefficients.cpu()
        core[:used, first:used] = coefficients.mT
        fresh, triangle = _orthonormal(rest - again @ known, known, generator)
        full = used + block > largest
        values, turn = torch.linalg.eigh(core[:used, :used])
        values, turn = values.flip(0).clamp(min=0), turn.flip(1)
        residuals = torch.linalg.vector_norm(triangle.cpu().mT @ turn[-block:], dim=0)
        # Until there are enough of them nothing is known.
        done = used >= rank and converged(values, residuals)
        stop = done or steps >= max_steps or (hopeless is not None and hopeless(steps, values, residuals))
        if stop or full:
            kept = min(used, rank + block if stop else min(rank + (used - rank) // 3, largest - block))
            turned = turn[:, :kept].mT.to(known.device) @ known
            if stop:
                values, residuals = ((part * unit).to(known.device) for part in (values, residuals))
                return Ritz(values, turned, residuals, steps, done)
            basis[:kept] = turned
            core.zero_()
            core[:kept, :kept] = torch.diag(values[:kept])
            used = kept
        basis[used : used + block] = fresh


def worst_residual(values: Tensor, residuals: Tensor, count: int) -> float:
    """Largest residual of the leading triplets of A relative to its largest singular value, from pairs of ``AᵀA``.

    The residual of a triplet is that of the pair divided by ``s``.

    Example:
        >>> worst_residual(torch.tensor([4.0, 1.0]), torch.tensor([0.0, 0.5]), 2)
        0.25
    """
    smallest = torch.finfo(values.dtype).tiny
    return float((residuals[:count] / (values[:count] * values[0]).sqrt().clamp(min=smallest)).max())


def too_slow(history: Sequence[float], steps: int, budget: float) -> bool:
    """Whether an iteration would need more steps than a budget, if its residual went on to fall as in the last step.

    Args:
        history: Residuals after each step, in units of what is asked for; positive.
        steps: Number of steps so far.
        budget: Number of steps.

    Example:
        >>> too_slow([1e4, 1e3], 2, 5), too_slow([1e4, 1e3], 2, 4)
        (False, True)
    """
    falls = math.log(history[-2] / history[-1]) if len(history) > 1 and history[-1] < history[-2] else 0.0
    return steps >= budget or math.log(history[-1]) > falls * (budget - steps)


def probe_outside(
    product: Product,
    basis: Tensor,
    *,
    probes: int,
    steps: int,
    seed: int = 0,
    failure: float = FAILURE,
    enough: Callable[[float], bool] | None = None,
) -> tuple[float, float]:
    """Bounds of ``‖A (I − VVᵀ)‖`` in the 2-norm by products with ``AᵀA`` alone.

    They are those of :func:`eckart.linalg.certificates.bound_outside`, which asks for images of the long side too and
    loses no small value in the rounding of a square.

    Args:
        product: ``AᵀA x`` of rows x, shape ``(N, n)`` to the same.
        basis: Orthonormal columns V, shape ``(n, w)``, float64.
        probes: Number of Gaussian vectors.
        steps: Lanczos steps, one product each.
        seed: Draws the probes.
        failure: Probability that the upper bound is wrong.
        enough: Whether an upper bound is as small as is needed; None: all steps are taken.

    Returns:
        ``(bound, ritz)``: the upper bound, and the largest value found, which is below the norm.

    Example:
        >>> diagonal = torch.tensor([25.0, 16.0, 4.0, 1.0], dtype=torch.float64)
        >>> first = torch.eye(4, dtype=torch.float64)[:, :1]
        >>> bound, ritz = probe_outside(lambda x: x * diagonal, first, probes=4, steps=3)
        >>> round(bound, 6), round(ritz, 6)
        (4.0, 4.0)
    """
    size = len(basis)

    def outside(rows: Tensor) -> Tensor:
        return rows - (rows @ basis) @ basis.mT

    start = outside(torch.randn(probes, size, generator=stream(seed, "certificate"), dtype=basis.dtype).to(basis))
    masses = start.square().sum(1)
    right = start / masses.sqrt()[:, None]
    seen, diagonal, beside = right[:, None], [], []
    bound, largest, smallest = math.inf, 0.0, torch.finfo(basis.dtype).tiny ** 0.5
    steps = min(steps, size - basis.shape[1])
    for step in range(1, steps + 1):
        image = outside(product(right))
        diagonal.append((right * image).sum(1))
        for _ in range(2):
            image = image - torch.einsum("rqn,rq->rn", seen, torch.einsum("rqn,rn->rq", seen, image))
            image = outside(image)
        beside.append(torch.linalg.vector_norm(image, dim=1).clamp(min=smallest))
        right = image / beside[-1][:, None]
        seen = torch.cat([seen, right[:, None]], dim=1)
        if enough is None and step < steps:
            continue
        high, ritz = christoffel_bound(torch.stack(diagonal, 1), torch.stack(beside, 1), masses, failure)
        bound, largest = math.sqrt(float(high.max())), math.sqrt(float(ritz.max()))
        if enough is not None and enough(bound):
            break
    return bound, largest


def _orthonormal(rows: Tensor, basis: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``rows``, nearly orthogonal to ``basis``, as ``triangle @ fresh``, with ``[basis, fresh]`` orthonormal."""
    gram = rows @ rows.mT
    factor, info = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal()
    # Beyond that the squares of the Gram matrix lose too much.
    if not bool(info) and bool(pivots.min() > 1e-5 * pivots.max()):
        fresh = torch.linalg.solve_triangular(factor, rows, upper=False)
        if len(rows) == 1:
            # It has been made orthogonal twice, and is not one of several that cancel.
            return fresh, factor
        fresh = fresh - (fresh @ basis.mT) @ basis
        second, info = torch.linalg.cholesky_ex(fresh @ fresh.mT)
        if not bool(info):
            return torch.linalg.solve_triangular(second, fresh, upper=False), factor @ second
    q, r = torch.linalg.qr(rows.mT)
    p, s, th = torch.linalg.svd(r.mT)
    fresh, triangle = th @ q.mT, p * s
    # Directions that the basis already spans are replaced by random ones, so that the block keeps its width.
    spent = s <= 1e-14 * max(float(s[0]), torch.finfo(s.dtype).tiny)
    if bool(spent.any()):
        fresh[spent] = _noise(int(spent.sum()), rows.shape[1], generator, rows)
        triangle[:, spent] = 0
    for _ in range(2):
        q, r = torch.linalg.qr((fresh - (fresh @ basis.mT) @ basis).mT)
        fresh, triangle = q.mT, triangle @ r.mT
    return fresh, triangle


def _noise(count: int, size: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(count, size, generator=generator, dtype=like.dtype).to(like.device)
