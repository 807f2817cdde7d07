"""Scaled gradient descent: a torch optimizer for factor pairs in any model."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from eckart.optim.objectives import solve_damped

Pair = tuple[Tensor, Tensor]


def scaled_left(gradient: Tensor, right: Tensor, damping: float) -> Tensor:
    """Gradient of a left factor in the scaled metric, ``gradient (right rightᵀ + λ)⁻¹``.

    Args:
        gradient: Shape ``(…, m, k)``.
        right: The right factor, shape ``(…, k, n)``.
        damping: λ as a fraction of the mean of the Gram matrix's diagonal.

    Example:
        >>> scaled_left(torch.tensor([[4.0, 8.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), 0.0).round()
        tensor([[4., 2.]])
    """
    return solve_damped(right @ right.mT, gradient, damping, left=False)


def scaled_right(left: Tensor, gradient: Tensor, damping: float) -> Tensor:
    """Gradient of a right factor in the scaled metric, ``(leftᵀ left + λ)⁻¹ gradient``.

    Args:
        left: The left factor, shape ``(…, m, k)``.
        gradient: Shape ``(…, k, n)``.
        damping: λ as a fraction of the mean of the Gram matrix's diagonal.

    Example:
        >>> scaled_right(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[4.0], [8.0]]), 0.0).round()
        tensor([[4.],
                [2.]])
    """
    return solve_damped(left.mT @ left, gradient, damping)


class ScaledGD(Optimizer):
    r"""Gradient descent that preconditions each factor of a pair by the Gram matrix of the other.

    For ``W = left @ right`` a step is ``left -= lr · ∇left (right rightᵀ + λ)⁻¹`` and
    ``right -= lr · (leftᵀ left + λ)⁻¹ ∇right``, both from the factors before it. On ``½ ‖W - A‖²``, near the
    optimum, its rate does not depend on the condition number of A (proven for A of the rank of W); a step of ½ suits
    that loss.

    Args:
        params: Pairs ``(left, right)`` of shapes ``(…, m, k)`` and ``(…, k, n)``; or their tensors in a row, left
            before right; or param groups with such ``params``.
        lr: Step.
        damping: λ as a fraction of the mean of the Gram matrix's diagonal; survives factors whose rank collapses, as
            where the target's rank is below k.
        foreach: Whether pairs of equal shape are stepped as one batch; None does so.

    Raises:
        ValueError: If the tensors are no pairs, or a number is out of its range.

    Example:
        >>> target = torch.diag(torch.tensor([2.0, 1.0]))
        >>> left, right = torch.ones(2, 2) + torch.eye(2), torch.eye(2)
        >>> pair = left.requires_grad_(), right.requires_grad_()
        >>> optimizer = ScaledGD([pair], lr=0.5)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     loss = ((left @ right - target) ** 2).sum() / 2
        ...     loss.backward()
        ...     _ = optimizer.step()
        >>> loss.item() < 1e-10
        True

    References:
        Tong, Ma & Chi, JMLR 22, 2021.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.5,
        *,
        damping: float = 1e-6,
        foreach: bool | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("damping", damping)):
            if not value >= 0:
                raise ValueError(f"The {name} must not be negative. Found {value}.")
        groups = list(params)
        if not groups or not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        super().__init__(groups, {"lr": lr, "damping": damping, "foreach": foreach})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add pairs with settings of their own."""
        params = param_group["params"]
        flat: list[Tensor] = [params] if isinstance(params, Tensor) else []
        for item in [] if flat else params:
            flat += [item] if isinstance(item, Tensor) else list(item)
        if len(flat) % 2:
            raise ValueError(f"The parameters must come in pairs (left, right). Found {len(flat)} tensors.")
        for left, right in zip(flat[::2], flat[1::2], strict=True):
            if left.ndim < 2 or left.ndim != right.ndim or left.shape[-1] != right.shape[-2]:
                found = f"{tuple(left.shape)} and {tuple(right.shape)}"
                raise ValueError(f"A pair must have shapes (…, m, k) and (…, k, n). Found {found}.")
        super().add_param_group({**param_group, "params": flat})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; a closure is called first, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            tensors = group["params"]
            pairs = [pair for pair in zip(tensors[::2], tensors[1::2], strict=True) if _has_gradient(pair)]
            batches: dict[Any, list[Pair]] = defaultdict(list)
            for number, pair in enumerate(pairs):
                alike = (*(t.shape for t in pair), pair[0].dtype, pair[0].device)
                batches[number if group["foreach"] is False else alike].append(pair)
            for batch in batches.values():
                _step(batch, group["lr"], group["damping"])
        return loss


def _has_gradient(pair: Pair) -> bool:
    return pair[0].grad is not None and pair[1].grad is not None


def _step(pairs: list[Pair], lr: float, damping: float) -> None:
    left, right = (torch.stack([pair[side] for pair in pairs]) for side in (0, 1))
    left_gradient, right_gradient = (torch.stack([_gradient(pair[side]) for pair in pairs]) for side in (0, 1))
    left_step = scaled_left(left_gradient, right, damping)
    right_step = scaled_right(left, right_gradient, damping)
    torch._foreach_sub_([pair[0] for pair in pairs], [lr * step for step in left_step])
    torch._foreach_sub_([pair[1] for pair in pairs], [lr * step for step in right_step])


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad
