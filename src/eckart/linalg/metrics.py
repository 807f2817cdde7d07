"""The errors of :mod:`eckart.linalg.optimality` as metrics of torchmetrics: one figure for each matrix seen."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from eckart.linalg.optimality import excess, in_double, relative_errors
from eckart.linalg.ranks import numerical_rank
from eckart.linalg.svd import factor_singular_values


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
    """Relative spectral error of each matrix seen, by :func:`eckart.linalg.optimality.relative_errors`.

    Example:
        >>> import torch
        >>> metric = Relative2Norm()
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric.update(target, torch.tensor([[1.0], [0.0]]), torch.tensor([[4.0, 0.0]]))
        >>> metric.compute()
        tensor([0.7500], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return relative_errors(target, left, right)[0]


class RelativeFrobenius(_PerMatrix):
    """Relative Frobenius error of each matrix seen, by :func:`eckart.linalg.optimality.relative_errors`.

    Example:
        >>> import torch
        >>> metric = RelativeFrobenius()
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[1.0], [0.0]]), torch.tensor([[4.0, 0.0]]))
        tensor([0.6000], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return relative_errors(target, left, right)[1]


class _Excess(_PerMatrix):
    def __init__(self, rank: int | Tensor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank


class Excess2Norm(_Excess):
    """Relative spectral error beyond the optimum of each matrix seen, by :func:`eckart.linalg.optimality.excess`.

    Args:
        rank: The rank that the approximations may have at most; a tensor of the shape of the batch if members differ.

    Example:
        >>> import torch
        >>> metric = Excess2Norm(rank=1)
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]))
        tensor([0.2500], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return excess(target, left, right, self.rank)[0]


class ExcessFrobenius(_Excess):
    """Relative Frobenius error beyond the optimum of each matrix seen, by :func:`eckart.linalg.optimality.excess`.

    Args:
        rank: As of :class:`Excess2Norm`.

    Example:
        >>> import torch
        >>> metric = ExcessFrobenius(rank=1)
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> metric(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]))
        tensor([0.2000], dtype=torch.float64)
    """

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return excess(target, left, right, self.rank)[1]


class NumericalRank(_PerMatrix):
    """Numerical rank of each approximation seen, by :func:`eckart.linalg.ranks.numerical_rank`.

    The singular values are computed in double precision and compared with the roundoff of the dtype of the factors: a
    value below the roundoff of single precision is not counted for factors that were trained in single precision.

    Example:
        >>> import torch
        >>> NumericalRank()(torch.eye(3), torch.ones(3, 2), torch.ones(2, 3))
        tensor([1])
    """

    higher_is_better = None

    def _measure(self, target: Tensor, left: Tensor, right: Tensor) -> Tensor:
        spectrum = factor_singular_values(*in_double(left, right))
        return numerical_rank(spectrum.to(left.dtype), target.shape)
