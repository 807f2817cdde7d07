"""Matrix factorization by training: A ≈ U Vᵀ."""

from typing import Any

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_one_of
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.random import stream
from eckart.methods.matrix import MatrixMethod, entries_to_choose_from
from eckart.methods.optimizers import solver_class
from eckart.optim.objectives import KnownTarget, Objective
from eckart.optim.products import KnownOperator


class PairMethod(MatrixMethod):
    """Two factors that are trained themselves, so that their product matches the entries that are seen.

    The loss that is reported is ``‖residual‖²``, a sum over the entries seen. It is minimized at unit scale, where
    their norm is 1, so a learning rate means the same for every target; entrywise SGD alone sees them as they are, as
    in the lab.

    Args:
        stack: Number of targets J.
        shape: ``(m, n)`` of each.
        norms: Frobenius norm of the entries seen, shape ``(J,)``, float64.
        initialization: ``normal``, scaled so that the product starts with that norm, or ``uniform``, the lab's U(0, 1).
        **common: As in :class:`MatrixMethod`; a member's seed draws the factors that training starts from.

    Raises:
        ValueError: For an unknown initialization, entries that are all zero, or as in :class:`MatrixMethod`.
    """

    scale: Tensor

    def __init__(
        self, stack: int, shape: tuple[int, int], norms: Tensor, *, initialization: str = "normal", **common: Any
    ) -> None:
        super().__init__(stack, shape, **common)
        require_one_of("initialization", initialization, ("normal", "uniform"))
        if not (norms > 0).all():
            raise ValueError("The entries that are seen must not be all zero, or none. Found norm 0.")
        solver, dtype = solver_class(self.make_optimizer), self.trained_dtype
        scale = norms if solver is None or solver.unit_scale else torch.ones_like(norms)
        self.register_buffer("scale", scale.to(dtype)[:, None, None], persistent=False)
        self.loss_unit = scale.square().to(dtype)
        self._initialization = initialization
        left, right = self._start(initialization)
        self.left, self.right = nn.Parameter(left.to(dtype)), nn.Parameter(right.to(dtype))
        self._objective: Objective | None = None

    def make_objective(self) -> Objective:
        """The entries that training sees, at the scale that it is done in."""
        raise NotImplementedError

    def factors(self) -> tuple[Tensor, Tensor]:
        """``U`` and ``Vᵀ`` in the units of the target."""
        return self.left * self.scale, self.right

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor]:
        """The factors themselves."""
        if self._objective is None:
            self._objective = self.make_objective()
        return self._objective, self.left, self.right

    def set_factors(self, left: Tensor, right: Tensor) -> None:
        """Take the factors over."""
        self.left.copy_(left)
        self.right.copy_(right)

    def losses(self, step: int) -> Tensor:
        """``½ ‖residual‖²`` on the entries seen."""
        objective, left, right = self.pair_problem()
        return objective.loss(left, right)

    def _start(self, initialization: str) -> tuple[Tensor, Tensor]:
        rows, cols = self.shape
        left = torch.zeros(self.stack, rows, self.width, dtype=torch.float64)
        right = torch.zeros(self.stack, self.width, cols, dtype=torch.float64)
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            generator = stream(seed, "factors")
            if initialization == "uniform":
                left[member, :, :rank] = torch.rand(rows, rank, generator=generator, dtype=torch.float64)
                right[member, :rank] = torch.rand(cols, rank, generator=generator, dtype=torch.float64).T
            else:
                # ‖left @ right‖ is then 1 on average.
                deviation = (rows * cols * rank) ** -0.25
                left[member, :, :rank] = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * deviation
                right[member, :rank] = torch.randn(cols, rank, generator=generator, dtype=torch.float64).T * deviation
        return left, right


class Factorization(PairMethod):
    """Two factors, trained so that their product matches every entry of the target.

    A target that is not stored entry by entry is trained on by its products alone, and never formed: see
    :class:`KnownOperator`. One that has no transpose is known by the images of all unit vectors, which are its entries.

    Args:
        target: Stack of targets, an operator or a tensor of shape ``(J, m, n)``; training sees every entry.
        **common: As in :class:`PairMethod`.

    Raises:
        ValueError: If the target is not finite, or as in :class:`PairMethod`.
    """

    target: Tensor

    def __init__(self, target: Operator | Tensor, **common: Any) -> None:
        operator = target if isinstance(target, Operator) else Dense(target)
        if not isinstance(operator, Dense) and not operator.has_transpose():
            operator = Dense(operator.dense())
        self._squares = None if isinstance(operator, Dense) else operator.squares()
        if self._squares is not None and not self._squares.isfinite().all():
            raise ValueError("The target must be finite, and so must be its squares. Found NaN or infinite entries.")
        norms = torch.linalg.matrix_norm(operator.dense()) if self._squares is None else self._squares.sqrt()
        super().__init__(operator.stack, operator.shape, norms, **common)
        self._operator = operator
        if isinstance(operator, Dense):
            self.register_buffer("target", operator.matrix.to(self.trained_dtype), persistent=False)

    def to_choose_from(self) -> Tensor:
        """The target."""
        return entries_to_choose_from(self._operator)

    def make_objective(self) -> Objective:
        """Every entry."""
        if self._squares is None:
            return KnownTarget(self.target / self.scale)
        return KnownOperator(self._operator, self._squares, self.scale)
