r"""Proven bounds on the optimum of a large matrix, from some of its singular vectors: no full SVD.

Let ``A`` be ``m × n``, ``B = AᵀA`` with eigenvalues ``λ_1 >= λ_2 >= …`` (the squares of the singular values), and ``V``
orthonormal ``n × w`` with ``A v_i = s_i u_i`` for orthonormal ``u_i`` (Ritz triplets; any basis is turned into such
ones by an SVD of ``A V``). With ``e_i = Aᵀu_i − s_i v_i``, which is orthogonal to ``V``, and ``P = I − VVᵀ``, in the
basis ``(V, V^⊥)``

    ``B = [[S², Rᵀ], [R, M]]``,   ``R = [s_1 e_1, …, s_w e_w]``,   ``M = P B P``.

*From below.* ``λ_i >= s_i²`` (Cauchy interlacing), ``Σ_{i<=k} λ_i >= Σ_{i<=k} s_i²`` (Ky Fan).

*From above.* Let ``t_w >= λ_max(M)``. By Courant–Fischer ``λ_{j+1} <= λ_max(M_j)`` for ``M_j``, which is B restricted
to the complement of ``v_1 … v_j``. ``M_{j-1} = [[s_j², s_j e_jᵀ], [s_j e_j, M_j]]``, so its largest eigenvalue is at
most that of the 2 × 2 matrix of the norms of its parts:

    ``t_{j-1} = (s_j² + t_j)/2 + sqrt((s_j² − t_j)²/4 + s_j² ‖e_j‖²)``,   ``λ_{j+1} <= t_j``.

The sum of these is one bound of ``Σ_{i<=k} λ_i``. Another one does not suffer from near ties within the k: for every
``ε > 0`` ``2 xᵀR_kᵀy <= ‖R_k x‖²/ε + ε‖y‖²``, hence ``B <= diag(S_k² + R_kᵀR_k/ε, (t_k + ε) I)``, and by Ky Fan

    ``Σ_{i<=k} λ_i <= Σ_{i<=k} max(s_i², t_k + ε) + ‖R_k‖_F²/ε``.

With a gap ``s_k² > t_k`` the choice ``ε = s_k² − t_k`` gives ``Σ s_i² + ‖R_k‖_F²/(s_k² − t_k)``: the square of the
residual.

*What is not in V.* ``t_w`` is bounded by probes, see :func:`bound_outside`. That bound is true with a probability that
is chosen, over the probes alone, whatever the matrix is.

*Rounding.* Computed triplets are those of a matrix at a distance of about the rounding errors of the products. These
are taken as independent (Higham & Mary, 2019), of a norm of at most ``10 u sqrt(max(m, n)) s_1`` with the unit roundoff
u, and every bound is widened by them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.operators import Operator
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank

FAILURE = 1e-10
"""Probability, over the probes, that a bound of :func:`certify` is wrong."""


@dataclass(frozen=True)
class Certificate:
    """Intervals that hold what an SVD would say, in the units of the matrix.

    Attributes:
        rank: The rank k that they are of.
        largest: Bounds of ``σ_1``.
        following: Bounds of ``σ_{k+1}``, the 2-norm of what the best approximation of rank k leaves.
        kept: Bounds of ``Σ_{i<=k} σ_i²``, the squared Frobenius norm of the best approximation.
        missed: How much more of the squared norm the best approximation can hold than that by the Ritz vectors.
        rounding: Effect of rounding errors on norms, relative to them.
        failure: Probability that a bound is wrong; 0 where nothing is drawn.
    """

    rank: int
    largest: tuple[float, float]
    following: tuple[float, float]
    kept: tuple[float, float]
    missed: float
    rounding: float
    failure: float

    def optimum(self, norm: float, left: float | None = None) -> tuple[tuple[float, float], tuple[float, float]]:
        """Bounds of the relative errors of the best approximation, in the 2-norm and in the Frobenius norm.

        Args:
            norm: Frobenius norm of the matrix.
            left: Frobenius norm of what the leading k Ritz vectors leave, ``‖A − A V_k V_kᵀ‖``, where it was
                computed from the entries: a small optimum is then known to roundoff, and not to its root.

        Example:
            >>> bounds = bounds_of(torch.tensor([4.0, 3.0]), torch.zeros(2), 1, outside=0.0, rounding=0.0)
            >>> two_norm, (low, high) = bounds.optimum(5.0)
            >>> two_norm, low < 0.6 < high, high - low < 1e-14
            ((0.75, 0.75), True, True)
        """
        smallest, largest = self.largest
        two_norm = self.following[0] / largest, min(1.0, self.following[1] / smallest) if smallest > 0 else 1.0
        # The norm itself is known to some eps.
        slack = 8 * torch.finfo(torch.float64).eps
        low = math.sqrt(max(0.0, 1 - self.kept[1] / norm / norm - slack))
        high = math.sqrt(max(0.0, 1 - self.kept[0] / norm / norm + slack))
        if left is not None:
            part, missed = left / norm, self.missed / norm / norm
            low = max(low, math.sqrt(max(0.0, part**2 - missed)) - self.rounding)
            high = min(high, part + self.rounding)
        return two_norm, (max(0.0, low), min(1.0, high))


def bounds_of(
    s: Tensor, residuals: Tensor, rank: int, *, outside: float, rounding: float, failure: float = 0.0
) -> Certificate:
    """Bounds from Ritz values, the norms of their residuals, and a bound of what is outside the Ritz vectors.

    Args:
        s: Ritz values ``s_i``, nonincreasing, shape ``(w,)`` with ``w >= rank``.
        residuals: ``‖Aᵀu_i − s_i v_i‖``, shape ``(w,)``.
        rank: The rank k.
        outside: At least ``‖A (I − VVᵀ)‖`` in the 2-norm, but for rounding errors; 0 where ``w = min(m, n)``.
        rounding: Largest effect of rounding on a singular value.
        failure: Probability that ``outside`` is too small.

    Example:
        >>> bounds = bounds_of(torch.tensor([4.0, 3.0]), torch.tensor([0.0, 0.1]), 1, outside=1.0, rounding=0.0)
        >>> bounds.kept, bounds.following[0], round(bounds.following[1], 4)
        ((16.0, 16.0), 3.0, 3.0019)
    """
    check_rank(rank, (len(s),))
    values, errors = s.double().tolist(), residuals.double().tolist()
    if not values[0] > 0:
        every = rank * outside**2
        return Certificate(rank, (0.0, outside), (0.0, outside), (0.0, every), every, 0.0, failure)
    # All in units of the largest Ritz value: no square overflows.
    unit = values[0]
    wide, beyond = rounding / unit, (outside + rounding) / unit
    scaled = [value / unit for value in values]
    coupling = [value * (error / unit + wide) for value, error in zip(scaled, errors, strict=True)]
    kept = sum(value**2 for value in scaled[:rank])
    above = _bounds_above(scaled, coupling, beyond**2)
    more = min(_one_by_one(scaled[:rank], above), _together(scaled[:rank], coupling[:rank], above[rank]))
    following = scaled[rank] if rank < len(scaled) else 0.0
    low, high = math.sqrt(kept) - math.sqrt(rank) * wide, math.sqrt(kept + more) + math.sqrt(rank) * wide

    # The Ritz vectors as vectors of the matrix itself, and not of one at the distance of the rounding errors.
    exact = [norm + wide for norm in coupling]
    above_exact = [bound + 4 * wide for bound in _bounds_above(scaled, exact, beyond**2)]
    missed = min(_one_by_one(scaled[:rank], above_exact), _together(scaled[:rank], exact[:rank], above_exact[rank]))
    return Certificate(
        rank=rank,
        largest=(unit * max(0.0, 1 - wide), unit * (math.sqrt(above[0]) + wide)),
        following=(unit * max(0.0, following - wide), unit * (math.sqrt(above[rank]) + wide)),
        kept=(unit**2 * max(0.0, low) ** 2, unit**2 * high**2),
        missed=unit**2 * missed,
        rounding=wide,
        failure=failure,
    )


def gram_bounds(values: Tensor, rank: int, shape: tuple[int, int]) -> Certificate:
    """Bounds from all eigenvalues of a computed Gram matrix, which rounding errors of the products have changed.

    They change no eigenvalue by more than their norm (Weyl), and no sum of k eigenvalues by more than k times that.

    Args:
        values: Eigenvalues of ``AᵀA`` or ``AAᵀ`` as computed in float64, nonincreasing, shape ``(min(m, n),)``, or the
            leading ``rank + 1`` of them.
        rank: The rank k.
        shape: ``(m, n)`` of A.

    Example:
        >>> bounds = gram_bounds(torch.tensor([16.0, 9.0]), 1, (50, 2))
        >>> bounds.kept[0] < 16 < bounds.kept[1], bounds.kept[1] - bounds.kept[0] < 1e-12
        (True, True)
    """
    check_rank(rank, (len(values),))
    squares = values.double().clamp(min=0).tolist()
    unit = squares[0] or 1.0
    # Errors of the product, and as much for those of the decomposition.
    wide = 2 * rounding_of(shape)
    scaled = [math.sqrt(square / unit) for square in squares[:rank]]
    after = squares[rank] / unit if rank < len(squares) else -wide
    kept = sum(value**2 for value in scaled)
    return Certificate(
        rank=rank,
        largest=(math.sqrt(unit * max(0.0, 1 - wide)), math.sqrt(unit * (1 + wide))),
        following=(math.sqrt(unit * max(0.0, after - wide)), math.sqrt(unit * (after + wide))),
        kept=(unit * max(0.0, kept - rank * wide), unit * (kept + rank * wide)),
        missed=unit * _together(scaled, [2 * wide] * rank, after + 2 * wide),
        rounding=rounding_of(shape),
        failure=0.0,
    )


def certify(
    operator: Operator,
    basis: Tensor,
    rank: int,
    *,
    probes: int = 8,
    steps: int = 30,
    failure: float = FAILURE,
    seed: int = 0,
    parts: float = 0.0,
) -> Certificate:
    """Bounds on the optimum of one matrix from any approximate singular vectors of it.

    Vectors beyond the ``rank`` that is asked about make the bounds tighter, most of all where ``σ_k`` and ``σ_{k+1}``
    nearly agree. It costs ``2 w`` products with the matrix or its transpose, and ``2 probes`` for each step.

    Args:
        operator: One matrix A, shape ``(m, n)``.
        basis: Orthonormal columns, shape ``(n, w)`` with ``w >= rank``, float64, drawn without the probes of ``seed``.
        rank: The rank k, ``1 <= k <= w``.
        probes: As of :func:`bound_outside`.
        steps: As of :func:`bound_outside`.
        failure: Probability that a bound is wrong.
        seed: Draws the probes.
        parts: Sum of the 2-norms of the parts, where the matrix is a difference of two: its products have the rounding
            of theirs.

    Example:
        >>> from eckart.linalg.operators import Dense
        >>> diagonal = Dense(torch.diag(torch.arange(300, 0, -1.0, dtype=torch.float64)))
        >>> first = torch.eye(300, dtype=torch.float64)[:, :10]
        >>> low, high = certify(diagonal, first, 5).following
        >>> low <= 295 <= high, high - low < 1e-6
        (True, True)
    """
    images = operator.images(basis.mT[None])[0].mT
    left, s, turn = torch.linalg.svd(images, full_matrices=False)
    right = basis @ turn.mT
    remainder = operator.transpose_images(left.mT[None])[0].mT - right * s
    outside, largest = bound_outside(operator, right, probes=probes, steps=steps, failure=failure, seed=seed)
    rounding = rounding_of(operator.shape) * max(float(s[0]), largest, parts)
    norms = torch.linalg.vector_norm(remainder, dim=0)
    return bounds_of(s, norms, rank, outside=outside, rounding=rounding, failure=failure)


def bound_outside(
    operator: Operator,
    basis: Tensor,
    *,
    probes: int = 8,
    steps: int = 30,
    failure: float = FAILURE,
    seed: int = 0,
) -> tuple[float, float]:
    r"""Upper bound of ``‖A (I − VVᵀ)‖`` in the 2-norm that is wrong with a probability of at most ``failure``.

    Let ``M = P AᵀA P`` have the largest eigenvalue λ, with the unit eigenvector w, and let x be a Gaussian vector. For
    every polynomial p ``|p(λ)| |wᵀx| <= ‖p(M) x‖``. So ``|wᵀx| <= 1/sqrt(K(λ))`` with ``K(λ) = max p(λ)²/‖p(M) x‖²``
    over the polynomials of degree q (the Christoffel function of the measure ``Σ (w_iᵀx)² δ(λ_i)``), which is ``Σ_j
    p_j(λ)²`` for its orthonormal polynomials: the recurrence of q Lanczos steps from x. K increases beyond the largest
    Ritz value. ``wᵀx`` is a standard normal number and ``P(|wᵀx| <= t) <= t sqrt(2/π)``, for r independent probes to
    the power of r. Unless all r are that small, λ is at most the largest of the r solutions of ``K(θ) = 1/t²``. No
    polynomial is chosen beforehand, and nothing is asked of the spectrum. The excess of ``θ`` falls as ``(log(n / t²) /
    q)²``, and faster where there are gaps.

    Args:
        operator: One matrix A, shape ``(m, n)``.
        basis: Orthonormal columns V, shape ``(n, w)``, float64; w may be 0.
        probes: Number r of Gaussian vectors.
        steps: Lanczos steps q.
        failure: Probability that the bound is wrong.
        seed: Draws the probes.

    Returns:
        ``(bound, ritz)``: the bound, without rounding errors, and the largest value found, which is below the norm.

    Example:
        >>> from eckart.linalg.operators import Dense
        >>> diagonal = torch.diag(torch.tensor([5.0, 4.0, 2.0, 1.0], dtype=torch.float64))
        >>> bound, ritz = bound_outside(Dense(diagonal), torch.eye(4, dtype=torch.float64)[:, :1])
        >>> round(bound, 6), round(ritz, 6)
        (4.0, 4.0)

    References:
        Dixon, SIAM J. Numer. Anal. 20(4), 1983; Kuczyński & Woźniakowski, SIAM J. Matrix Anal. Appl. 13(4), 1992;
        Halko, Martinsson & Tropp, SIAM Rev. 53(2), 2011, section 4.3; Higham & Mary, SIAM J. Sci. Comput. 41(5), 2019.
    """
    free = min(basis.shape[0] - basis.shape[1], operator.shape[0])
    if free <= 0:
        return 0.0, 0.0
    draws = torch.randn(probes, basis.shape[0], generator=stream(seed, "certificate"), dtype=torch.float64)
    start = _outside(draws.to(basis.device), basis)
    masses = start.square().sum(1)
    diagonal, beside, unit = _lanczos(operator, basis, start, min(steps, free))
    high, ritz = christoffel_bound(diagonal, beside, masses, failure)
    return unit * float(high.max().sqrt()), unit * float(ritz.max().sqrt())


def christoffel_bound(diagonal: Tensor, beside: Tensor, masses: Tensor, failure: float) -> tuple[Tensor, Tensor]:
    """Bounds of the largest eigenvalue of M from the recurrences of probes, as :func:`bound_outside` explains.

    Args:
        diagonal: Of each probe, shape ``(r, q)``.
        beside: What stands beside the diagonal, shape ``(r, q)``; the last is that of the step to come.
        masses: Squared norms of the probes, outside of the basis, shape ``(r,)``.
        failure: Probability that the largest of the bounds is wrong.

    Returns:
        The bounds and the largest Ritz values, each of shape ``(r,)``.
    """
    ritz = torch.linalg.eigvalsh(
        torch.diag_embed(diagonal)
        + torch.diag_embed(beside[:, :-1], offset=1)
        + torch.diag_embed(beside[:, :-1], offset=-1)
    )[:, -1].clamp(min=0)
    threshold = failure ** (1 / len(masses)) * math.sqrt(math.pi / 2)
    wanted = -2 * math.log(threshold) + masses.log()
    low, high = ritz, ritz * 2 + torch.finfo(ritz.dtype).tiny
    while bool((_log_christoffel(high, diagonal, beside) < wanted).any()):
        high = high * 2
    for _ in range(60):
        middle = (low + high) / 2
        enough = _log_christoffel(middle, diagonal, beside) >= wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high, ritz


def rounding_of(shape: tuple[int, int]) -> float:
    """Norm of the rounding errors of float64 products with a matrix, relative to its largest singular value.

    Example:
        >>> rounding_of((100, 400)) < 1e-13
        True
    """
    return 5 * torch.finfo(torch.float64).eps * math.sqrt(max(shape))


def _bounds_above(s: list[float], coupling: list[float], outside: float) -> list[float]:
    """``t_0 … t_w``, of which ``t_j`` is an upper bound of the square of singular value j + 1."""
    above = [outside]
    for value, norm in zip(reversed(s), reversed(coupling), strict=True):
        above.append((value**2 + above[-1]) / 2 + math.hypot((value**2 - above[-1]) / 2, norm))
    return above[::-1]


def _one_by_one(s: list[float], above: list[float]) -> float:
    return sum(bound - value**2 for bound, value in zip(above, s, strict=False))


def _together(s: list[float], coupling: list[float], outside: float) -> float:
    """The least over ε of ``Σ max(outside + ε − s_i², 0) + ‖coupling‖²/ε``, which is convex in ε."""
    norm = math.hypot(*coupling)

    def bound(epsilon: float) -> float:
        return sum(max(0.0, outside + epsilon - value**2) for value in s) + norm / epsilon * norm

    if norm == 0:
        return sum(max(0.0, outside - value**2) for value in s)
    # The least is where a term sets in, or where the derivative vanishes between two such places.
    places = [value**2 - outside for value in s] + [norm / math.sqrt(count) for count in range(1, len(s) + 1)]
    return min(bound(epsilon) for epsilon in places if epsilon > 0)


def _lanczos(operator: Operator, basis: Tensor, start: Tensor, steps: int) -> tuple[Tensor, Tensor, float]:
    """Recurrences of M from each row of ``start``: diagonals and off-diagonals ``(r, q)``, and the root of their unit.

    They come from a bidiagonalization of ``A P``, in which a small M is not lost in the rounding errors of a large B.
    """
    smallest = torch.finfo(start.dtype).tiny ** 0.5
    right = start / torch.linalg.vector_norm(start, dim=1, keepdim=True).clamp(min=smallest)
    seen = right[:, None]
    left = operator.images(right[None])[0]
    # In units of the first images, so that no square underflows.
    unit = float(torch.linalg.vector_norm(left, dim=1).max()) or 1.0
    left = left / unit
    last = start.new_zeros(len(start))
    diagonal, beside = [], []
    for _ in range(steps):
        length = torch.linalg.vector_norm(left, dim=1).clamp(min=smallest)
        left = left / length[:, None]
        right = operator.transpose_images(left[None])[0] / unit - length[:, None] * right
        for _ in range(2):
            right = _outside(right, basis)
            right = right - torch.einsum("rqn,rq->rn", seen, torch.einsum("rqn,rn->rq", seen, right))
        step = torch.linalg.vector_norm(right, dim=1).clamp(min=smallest)
        right = right / step[:, None]
        diagonal.append(length.square() + last.square())
        beside.append(length * step)
        last = step
        seen = torch.cat([seen, right[:, None]], dim=1)
        left = operator.images(right[None])[0] / unit - step[:, None] * left
    return torch.stack(diagonal, dim=1), torch.stack(beside, dim=1), unit


def _log_christoffel(at: Tensor, diagonal: Tensor, beside: Tensor) -> Tensor:
    """Logarithm of ``Σ_j p_j(at)²`` for unit mass, shape ``(r,)``, from the largest Ritz value of each probe on."""
    smallest = torch.finfo(at.dtype).tiny
    logs = [torch.zeros_like(at)]
    ratio = at.new_full(at.shape, torch.inf)
    before = torch.zeros_like(at)
    for j in range(diagonal.shape[1]):
        ratio = ((at - diagonal[:, j] - before / ratio) / beside[:, j]).clamp(min=smallest)
        before = beside[:, j]
        logs.append(logs[-1] + ratio.log())
    return torch.logsumexp(2 * torch.stack(logs), dim=0)


def _outside(rows: Tensor, basis: Tensor) -> Tensor:
    return rows - (rows @ basis) @ basis.mT
