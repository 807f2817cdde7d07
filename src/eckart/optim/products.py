"""The objective of targets that are known by their products: sparse, in blocks of a file, or on other machines."""

from typing import Any

import torch
from torch import Tensor

from eckart.linalg.operators import Member, Operator, Scaled
from eckart.optim.line_search import along_by_products
from eckart.optim.objectives import Products, solve_damped


class KnownOperator:
    r"""Every entry of targets of which only products are asked; no ``m × n`` array is formed.

    The gradients of ``½ ‖left @ right - A‖²`` are ``left (right rightᵀ) - A rightᵀ`` and ``(leftᵀ left) right - leftᵀ
    A``: two products with A give them, to the rounding of such a product. The inner products of a line search are those
    of small Gram matrices, and one more product.

    Args:
        operator: The targets, with images of the transpose.
        squares: Squared Frobenius norm of each target, shape ``(J,)``.
        scale: Number that each target is divided by, shape ``(J, 1, 1)``.

    Example:
        >>> from eckart.linalg.operators import Sparse
        >>> sparse = Sparse(torch.diag(torch.tensor([2.0, 1.0])).to_sparse())
        >>> objective = KnownOperator(sparse, torch.tensor([5.0]), torch.ones(1, 1, 1))
        >>> left, right = torch.tensor([[[2.0], [0.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> objective.squares(objective.residual(left, right))
        tensor([1.])
    """

    ridge = 0.0

    def __init__(self, operator: Operator, squares: Tensor, scale: Tensor) -> None:
        self._operator, self._squares, self._scale = operator, squares, scale
        self.norms = (squares.sqrt().to(scale) / scale.flatten()).to(scale.dtype)
        self._last: tuple[Tensor, Tensor, Products] | None = None

    def residual(self, left: Tensor, right: Tensor) -> Products:
        """Squared norm and gradients; of the factors that were asked about last they are known."""
        left, right = left.detach(), right.detach()
        if self._last is None or not (torch.equal(self._last[0], left) and torch.equal(self._last[1], right)):
            scale = self._scale.to(left)
            found = self._operator.residual_products(left * scale, right, self._squares)
            squares, by_right, by_left = found
            made = Products(squares / scale.flatten().square(), by_right / scale, by_left / scale.square())
            self._last = left.clone(), right.clone(), made
        return self._last[2]

    def sight(self, left: Tensor, right: Tensor) -> Products:
        """All that is known of the residual."""
        return self.residual(left, right)

    def squares(self, residual: Products) -> Tensor:
        """``‖residual‖²``."""
        return residual.squares

    def loss(self, left: Tensor, right: Tensor) -> Tensor:
        """Half of it, with the gradients that products give."""
        found: Tensor = _Loss.apply(left, right, self)
        return found

    def gradients(self, residual: Products, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Known with the residual."""
        return residual.left, residual.right

    def along(
        self, residual: Products, left: Tensor, right: Tensor, direction: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From Gram matrices of the factors and of the direction, and images of the direction's right factor."""
        images = self._operator.images(direction[1]).mT / self._scale.to(left)
        return along_by_products(left, right, direction, images)

    def best_left(self, right: Tensor, damping: float = 0.0) -> Tensor:
        """``target rightᵀ (right rightᵀ)⁻¹``."""
        images = self._operator.images(right) / self._scale.to(right)
        return solve_damped(right @ right.mT, images, damping).mT

    def best_right(self, left: Tensor, damping: float = 0.0) -> Tensor:
        """``(leftᵀ left)⁻¹ leftᵀ target``."""
        images = self._operator.transpose_images(left.mT) / self._scale.to(left)
        return solve_damped(left.mT @ left, images, damping)

    def entries(self, member: int) -> tuple[Tensor, Tensor, Tensor]:
        """None: what is asked for are products.

        Raises:
            ValueError: Always.
        """
        law = "This optimizer needs a target that is stored entry by entry; riemannian_cg, als, scaled_gd and those of "
        raise ValueError(f"{law}torch need its products alone. Found {type(self._operator).__name__}.")

    def operator(self, member: int) -> Operator:
        """The target of one member, divided by its scale."""
        alone = self._operator if self._operator.stack == 1 else Member(self._operator, member)
        return Scaled(alone, 1 / float(self._scale[member]))


class _Loss(torch.autograd.Function):
    """``½ ‖residual‖²``, whose derivatives are the gradients that products give."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, objective: KnownOperator) -> Tensor:
        found = objective.residual(left, right)
        ctx.save_for_backward(found.left, found.right)
        return found.squares / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (outer,) = gradients
        left, right = ctx.saved_tensors
        return outer[:, None, None] * left, outer[:, None, None] * right, None
