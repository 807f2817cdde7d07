"""Matrix factorization by training: A ≈ U Vᵀ."""

from typing import Any

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_one_of
from eckart.linalg.random import stream
from eckart.methods.matrix import MatrixMethod
from eckart.methods.optimizers import solver_class
from eckart.optim.objectives import KnownTarget, Objective


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
        return objective.residual(left, right).flatten(1).square().sum(1) / 2

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

    Args:
        target: Stack of targets, shape ``(J, m, n)``; training sees every entry.
        **common: As in :class:`PairMethod`.
    """

    target: Tensor

    def __init__(self, target: Tensor, **common: Any) -> None:
        norms = torch.linalg.matrix_norm(target.double())
        super().__init__(len(target), (target.shape[1], target.shape[2]), norms, **common)
        self.register_buffer("target", target.to(self.trained_dtype), persistent=False)

    def to_choose_from(self) -> Tensor:
        """The target."""
        return self.target[0]

    def make_objective(self) -> Objective:
        """Every entry."""
        return KnownTarget(self.target / self.scale)
