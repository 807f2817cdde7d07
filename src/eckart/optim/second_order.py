"""Saddles: how to tell a stationary point that is no optimum, and a step that leaves it."""

import torch
from torch import Tensor

from eckart.linalg.krylov import block_lanczos
from eckart.linalg.operators import Operator, Residual
from eckart.linalg.random import stream
from eckart.linalg.svd import factor_singular_values
from eckart.optim.objectives import KnownTarget
from eckart.optim.products import KnownOperator

# Up to this smaller side a dense decomposition takes less time than iteration.
_DENSE_SIDE = 64
_WIDTH = 4
_ITERATIONS = 40


@torch.no_grad()
def leave_saddles(
    objective: KnownTarget | KnownOperator,
    left: Tensor,
    right: Tensor,
    ranks: list[int],
    members: Tensor,
    *,
    tolerance: float,
    always: bool = False,
) -> Tensor:
    r"""Move members that rest at a saddle of ``½ ‖left @ right - target‖²``, along their leading residual direction.

    At a stationary point of full rank the product consists of k singular triplets of the target, and the residual of
    all others. So the point is the optimum exactly if the largest singular value of the residual is at most the
    smallest one that the product holds; otherwise an exchange of the two lowers the loss. A member whose residual has
    a singular value above the product's smallest, by more than ``tolerance`` of the norm of the target, gets the best
    product whose columns lie in the span of its present ones and of the leading residual directions.

    *Proven*: the loss of a fully observed target has no local minimum that is not global, and every stationary point
    that is not the optimum has a direction of descent among the residual's leading ones (Baldi & Hornik 1989; Ge, Jin
    & Zheng 2017). The step never raises the loss, since the present product lies in the span. *Numerical only*: the
    leading singular value of a large residual is iterated from a fixed random start, to a bound that holds if the
    leading directions were found, which they are with probability one; and "stationary" means to a tolerance.

    Args:
        objective: The targets.
        left: Left factors, shape ``(J, m, k)``; changed in place where a member moves.
        right: Right factors, shape ``(J, k, n)``; likewise.
        ranks: Rank of each member.
        members: Which members are looked at, boolean, shape ``(J,)``.
        tolerance: Difference of singular values, relative to the norm of the target, that counts.
        always: Move every one of ``members``: beside a near tie of singular values the same step ends what would
            take a first-order method thousands of steps.

    Returns:
        Which members moved, boolean, shape ``(J,)``.

    Example:
        >>> target = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))[None]
        >>> left = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)  # the wrong triplet: a saddle
        >>> right = left.mT.clone()
        >>> leave_saddles(KnownTarget(target), left, right, [1], torch.tensor([True]), tolerance=1e-10)
        tensor([True])
        >>> (left @ right).round(decimals=10).abs()
        tensor([[[2., 0.],
                 [0., 0.]]], dtype=torch.float64)
    """
    moved, places = torch.zeros_like(members), members.nonzero()[:, 0].tolist()
    if isinstance(objective, KnownTarget) and min(objective.target.shape[1:]) <= _DENSE_SIDE:
        for rank in {ranks[member] for member in places}:
            own = [member for member in places if ranks[member] == rank]
            moved[_leave_together(objective, left, right, rank, own, tolerance, always)] = True
        return moved
    for member in places:
        rank = ranks[member]
        target, own_left, own_right = objective.operator(member), left[member, :, :rank], right[member, :rank]
        if rank == min(target.shape) or not (own_left.isfinite().all() and own_right.isfinite().all()):
            continue
        smallest = factor_singular_values(own_left, own_right)[rank - 1]
        margin = _counts(tolerance, left.dtype) * objective.norms[member]
        largest, directions = _leading(target, own_left, own_right, float(smallest + margin), float(margin))
        if always or largest > smallest + margin:
            basis = torch.linalg.qr(torch.cat([own_left, directions], dim=1)).Q
            u, s, vh = torch.linalg.svd(target.transpose_images(basis.mT[None])[0], full_matrices=False)
            root = s[:rank].sqrt()
            left[member, :, :rank] = basis @ (u[:, :rank] * root)
            right[member, :rank] = root[:, None] * vh[:rank]
            moved[member] = True
    return moved


def _leave_together(
    objective: KnownTarget,
    left: Tensor,
    right: Tensor,
    rank: int,
    members: list[int],
    tolerance: float,
    always: bool,
) -> Tensor:
    """Move members of one rank, whose targets are small, in calls that take the whole stack; which of them moved.

    An accelerator takes as long for one small matrix as for thousands.
    """
    places, shape = torch.tensor(members, device=left.device), objective.target.shape[1:]
    finite = left[places].isfinite().flatten(1).all(1) & right[places].isfinite().flatten(1).all(1)
    places = places[finite] if rank < min(shape) else places[:0]
    if not len(places):
        return places
    target, own_left, own_right = objective.target[places], left[places, :, :rank], right[places, :rank]
    smallest = factor_singular_values(own_left, own_right)[:, rank - 1]
    u, s, _ = torch.linalg.svd(target - own_left @ own_right, full_matrices=False)
    goes = (s[:, 0] > smallest + _counts(tolerance, left.dtype) * objective.norms[places]) | always
    places = places[goes]
    if len(places):
        directions = u[goes, :, : min(_WIDTH, min(shape) - rank)]
        basis = torch.linalg.qr(torch.cat([own_left[goes], directions], dim=2)).Q
        u, s, vh = torch.linalg.svd(basis.mT @ target[goes], full_matrices=False)
        root = s[:, :rank].sqrt()
        left[places, :, :rank] = basis @ (u[:, :, :rank] * root[:, None])
        right[places, :rank] = root[:, :, None] * vh[:, :rank]
    return places


def _counts(tolerance: float, dtype: torch.dtype) -> float:
    """Difference of singular values, relative to the norm of the target, that counts."""
    return max(tolerance, 16 * torch.finfo(dtype).eps)


def _leading(target: Operator, left: Tensor, right: Tensor, enough: float, error: float) -> tuple[Tensor, Tensor]:
    """Largest singular value of the residual, and up to four leading left directions of it."""
    count = min(_WIDTH, min(target.shape) - left.shape[1])
    # Iteration needs a block of vectors twice within the short side.
    if min(target.shape) <= 2 * _WIDTH:
        u, s, _ = torch.linalg.svd(target.dense()[0].to(left) - left @ right, full_matrices=False)
        return s[0], u[:, :count]

    def converged(s: Tensor, residuals: Tensor) -> bool:
        gap = (s[0] - s[1:]).clamp(min=torch.finfo(s.dtype).tiny)
        bound = torch.minimum(residuals[0], 10 * (residuals.square().cumsum(0)[:-1] / gap).min())
        # What separates the value from the largest that is allowed need not be known to more than two digits.
        return bool(s[0] > enough or bound <= max(error, 0.01 * (enough - float(s[0]))))

    residual = Residual(target, left, right)
    u, s, _, _ = block_lanczos(residual, _WIDTH, stream(0, "saddle"), converged, _ITERATIONS, like=left)
    return s[0], u[:, :count]
