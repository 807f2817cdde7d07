"""The scaled metric of factor pairs, inside any optimizer."""

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eckart.optim.low_rank_integrator import low_rank_layers
from eckart.optim.scaled_gd import scaled_left, scaled_right


def factor_pairs(model: nn.Module) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Factor pairs of a model: of each module with parameters ``left (…, m, k)`` and ``right (…, k, n)``.

    Args:
        model: Any module.

    Returns:
        ``(left, right)`` by the path of the module; a pair that modules share is named once.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> net = nn.Sequential(nn.Linear(3, 4), LowRankLinear(4, 5, rank=2))
        >>> {path: (left.shape, right.shape) for path, (left, right) in factor_pairs(net).items()}
        {'1': (torch.Size([5, 2]), torch.Size([2, 4]))}
    """
    pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
    known: set[int] = set()
    for path, layer in low_rank_layers(model).items():
        left, right = layer.left, layer.right
        if id(left) in known:
            continue
        if left.ndim >= 2 and left.ndim == right.ndim and left.shape[-1] == right.shape[-2]:
            known.add(id(left))
            pairs[path] = left, right
    return pairs


class ScaledMetric:
    r"""Gradients of a model's factor pairs in the metric of their product, for any optimizer.

    From its creation on, each backward pass gives ``∇left (right rightᵀ + λ)⁻¹`` in place of ``∇left`` and ``(leftᵀ
    left + λ)⁻¹ ∇right`` in place of ``∇right``; gradients of other parameters stay as they are. Then a step of
    gradient descent, with momentum or without, changes the product in the same way for all factors of it: ``(left Q,
    Q⁻¹ right)`` give the same model after each step, up to the damping. Methods that scale each entry on its own, such
    as Adam, lose that, but not the conditioning.

    The gradients are changed as they arrive, so accumulated gradients, closures, mixed precision, gradient clipping
    and Lightning's automatic optimization work as without it. A copy of the model does not have the metric.

    Args:
        model: Any module with layers of low rank.
        damping: λ as a fraction of the mean of the Gram matrix's diagonal. It bounds steps in directions in which the
            other factor is almost 0.

    Raises:
        ValueError: If the damping is negative, or no module of the model has a factor pair to train.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> layer = LowRankLinear(4, 5, rank=2)
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> with ScaledMetric(layer):
        ...     layer(torch.ones(3, 4)).square().sum().backward()
        ...     optimizer.step()

    References:
        Tong, Ma & Chi, JMLR 22, 2021. Zhang & Pilanci, Riemannian preconditioned LoRA, ICML 2024.
    """

    def __init__(self, model: nn.Module, damping: float = 1e-3) -> None:
        if not damping >= 0:
            raise ValueError(f"The damping must not be negative. Found {damping}.")
        self._handles: list[RemovableHandle] = []
        for left, right in factor_pairs(model).values():
            for factor, hook in ((left, _of_left(right, damping)), (right, _of_right(left, damping))):
                if factor.requires_grad:
                    self._handles.append(factor.register_hook(hook))
        if not self._handles:
            raise ValueError("The model must have a factor pair to train, such as LowRankLinear has. Found none.")

    def remove(self) -> None:
        """Give back the plain gradients."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "ScaledMetric":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _of_left(right: Tensor, damping: float) -> Callable[[Tensor], Tensor]:
    def hook(gradient: Tensor) -> Tensor:
        with torch.no_grad():
            return scaled_left(_solvable(gradient), _solvable(right), damping).to(gradient.dtype)

    return hook


def _of_right(left: Tensor, damping: float) -> Callable[[Tensor], Tensor]:
    def hook(gradient: Tensor) -> Tensor:
        with torch.no_grad():
            return scaled_right(_solvable(left), _solvable(gradient), damping).to(gradient.dtype)

    return hook


def _solvable(tensor: Tensor) -> Tensor:
    # No solver takes numbers of 16 bits.
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor
