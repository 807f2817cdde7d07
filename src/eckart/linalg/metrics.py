"""How far an approximation is from its target, and from the best that its rank allows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from eckart.linalg.norms import residual_norms
from eckart.linalg.ranks import check_rank, numerical_rank
from eckart.linalg.svd import factor_singular_values, singular_values


def relative_errors(target: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    r"""Spectral and Frobenius norm of ``target - left @ right``, each relative to that of ``target``.

    Measured in double precision whatever the dtype of the arguments, to about 1e-12 relative, with a floor of a few
    ``eps``. Leading dimensions are a batch and broadcast.

    Args:
        target: Real floating point, shape ``(..., m, n)``, not all zero.
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.

    Returns:
        ``(relative_2norm, relative_frobenius)``, each of shape ``(...)``, float64, on the device of ``target`` (on the
        CPU if that device has no float64). Inf or nan for factors that are not finite.

    Raises:
        ValueError: If a target is all zero.

    Example:
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> relative_errors(target, left=torch.tensor([[1.0], [0.0]]), right=torch.tensor([[4.0, 0.0]]))
        (tensor(0.7500, dtype=torch.float64), tensor(0.6000, dtype=torch.float64))
    """
    target, left, right = _in_double(target, left, right)
    target_2norm, target_frobenius = residual_norms(target, left[..., :0], right[..., :0, :])
    _refuse_zero(target_frobenius)
    two_norm, frobenius = residual_norms(target, left, right)
    return two_norm / target_2norm, frobenius / target_frobenius


def relative_2norm(target: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Spectral norm of ``target - left @ right`` relative to that of ``target``: first of :func:`relative_errors`.

    Example:
        >>> relative_2norm(torch.eye(2), torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(1., dtype=torch.float64)
    """
    return relative_errors(target, left, right)[0]


def relative_frobenius(target: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Frobenius norm of ``target - left @ right`` relative to that of ``target``: second of :func:`relative_errors`.

    Example:
        >>> relative_frobenius(torch.eye(2), torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.7071, dtype=torch.float64)
    """
    return relative_errors(target, left, right)[1]


def optimum(spectrum: Tensor, rank: int | Tensor) -> tuple[Tensor, Tensor]:
    r"""Relative errors of the best approximation of a given rank, from the singular values of the target.

    No matrix of rank at most ``rank`` has a smaller error in either norm (Eckart-Young-Mirsky), and the truncated SVD
    attains both.

    Args:
        spectrum: All singular values of the target, shape ``(..., r)`` with ``r = min(m, n)``, nonincreasing.
        rank: ``1 <= rank <= r``; an integer, or int64 of the batch's shape where members differ in rank.

    Returns:
        ``(optimum_2norm, optimum_frobenius)``, each of shape ``(...)``, float64; zero where ``rank = r``.

    Raises:
        ValueError: If a rank is outside ``[1, r]`` or a target is all zero.

    Example:
        >>> optimum(torch.tensor([4.0, 3.0, 0.0]), rank=1)
        (tensor(0.7500, dtype=torch.float64), tensor(0.6000, dtype=torch.float64))

    References:
        Eckart & Young, Psychometrika 1(3), 1936; Mirsky, Quart. J. Math. 11(1), 1960.
    """
    (spectrum,) = _in_double(spectrum)
    _refuse_zero(spectrum[..., 0])
    ranks = torch.as_tensor(rank, device=spectrum.device)
    for extreme in (ranks.min(), ranks.max()):
        check_rank(int(extreme), (spectrum.shape[-1],))
    scaled = torch.nn.functional.pad(spectrum / spectrum[..., :1], (0, 1))
    # Summed from the small end, so that a tail of tiny singular values is not lost beside the large ones.
    tails = scaled.square().flip(-1).cumsum(-1).flip(-1).sqrt()
    batch = (ranks + spectrum[..., 0]).shape
    index = ranks.expand(batch)[..., None]
    two_norm, frobenius = (part.expand(*batch, -1).gather(-1, index)[..., 0] for part in (scaled, tails))
    return two_norm, frobenius / tails[..., 0]


def excess(target: Tensor, left: Tensor, right: Tensor, rank: int | Tensor) -> tuple[Tensor, Tensor]:
    r"""Relative errors beyond the least that the rank allows; nonnegative up to roundoff.

    Args:
        target: As of :func:`relative_errors`.
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.
        rank: The rank that the approximation is held to, as of :func:`optimum`.

    Returns:
        ``(excess_2norm, excess_frobenius)``: error minus optimum, each of shape ``(...)``, float64.

    Raises:
        ValueError: If a rank is outside ``[1, min(m, n)]`` or a target is all zero.

    Example:
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> excess(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]), rank=1)
        (tensor(0.2500, dtype=torch.float64), tensor(0.2000, dtype=torch.float64))
    """
    two_norm, frobenius = relative_errors(target, left, right)
    floor_2norm, floor_frobenius = optimum(singular_values(*_in_double(target)), rank)
    return two_norm - floor_2norm, frobenius - floor_frobenius


def _in_double(*tensors: Tensor) -> tuple[Tensor, ...]:
    # Apple's accelerator has no float64.
    return tuple((tensor.cpu() if tensor.device.type == "mps" else tensor).detach().double() for tensor in tensors)


def _refuse_zero(norms: Tensor) -> None:
    if (norms == 0).any():
        raise ValueError("The target must not be all zero: relative errors are undefined for it. Found norm 0.")


class _PerMatrix(Metric):
    """One figure for each matrix seen, in the order of the updates."""

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = False
    figures: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("figures", default=[], dist_reduce_fx="cat")

    def update(self, target: Tensor, left: Tensor, right: Tensor) -> None:
        """Measure one matrix ``(m, n)`` or a batch ``(..., m, n)`` against its factors."""
        self.figures.append(self._measure(target, left, right).flatten())

    def compute(self) -> Tensor:
        """Figures of all matrices seen, shape ``(N,)``."""
        return dim_zero_cat(self.figures)

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        raise NotImplementedError

    def _wrap_compute(self, compute: Callable[[], Tensor]) -> Callable[[], Tensor]:
        # torchmetrics squeezes single figures; a stack of one must have the shape of any other stack.
        wrapped = super()._wrap_compute(compute)
        return lambda: wrapped().reshape(-1)


class Relative2Norm(_PerMatrix):
    """Relative spectral error of each matrix seen, by :func:`relative_2norm`.

    Example:
        >>> metric = Relative2Norm()
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric.update(target, torch.tensor([[1.0], [0.0]]), torch.tensor([[4.0, 0.0]]))
        >>> metric.compute()
        tensor([0.7500], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return relative_2norm(target, left, right)


class RelativeFrobenius(_PerMatrix):
    """Relative Frobenius error of each matrix seen, by :func:`relative_frobenius`.

    Example:
        >>> metric = RelativeFrobenius()
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[1.0], [0.0]]), torch.tensor([[4.0, 0.0]]))
        tensor([0.6000], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return relative_frobenius(target, left, right)


class _Excess(_PerMatrix):
    def __init__(self, rank: int | Tensor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank


class Excess2Norm(_Excess):
    """Relative spectral error beyond the optimum of each matrix seen, by :func:`excess`.

    Args:
        rank: The rank that the approximations are held to; a tensor of the batch's shape where members differ.

    Example:
        >>> metric = Excess2Norm(rank=1)
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]))
        tensor([0.2500], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return excess(target, left, right, self.rank)[0]


class ExcessFrobenius(_Excess):
    """Relative Frobenius error beyond the optimum of each matrix seen, by :func:`excess`.

    Args:
        rank: As of :class:`Excess2Norm`.

    Example:
        >>> metric = ExcessFrobenius(rank=1)
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]))
        tensor([0.2000], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return excess(target, left, right, self.rank)[1]


class NumericalRank(_PerMatrix):
    """Numerical rank of each approximation seen, by :func:`eckart.linalg.ranks.numerical_rank`.

    The singular values are computed in double precision, but counted against the roundoff of the factors' own dtype:
    what training in single precision cannot resolve is no rank.

    Example:
        >>> NumericalRank()(torch.eye(3), torch.ones(3, 2), torch.ones(2, 3))
        tensor([1])
    """

    higher_is_better = None

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        spectrum = factor_singular_values(*_in_double(left, right))
        return numerical_rank(spectrum.to(left.dtype), target.shape)


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
