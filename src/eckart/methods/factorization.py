"""Matrix factorization by training: A ≈ U Vᵀ."""

from typing import Any

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_one_of
from eckart.linalg.random import stream
from eckart.methods.base import MatrixMethod
from eckart.methods.optimizers import solver_class
from eckart.optim.objectives import KnownTarget, Objective


class Factorization(MatrixMethod):
    """Two factors, trained so that their product matches every entry of the target.

    The loss that is reported is ``‖A - U Vᵀ‖²``, a sum over the entries. It is minimized at unit scale, ``‖A‖ = 1``,
    so a learning rate means the same for every target; entrywise SGD alone sees the target as it is, as in the lab.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.
        initialization: ``normal``, scaled so that the product starts with the norm of the target, or ``uniform``, the
            lab's U(0, 1).
        **common: As in :class:`MatrixMethod`; a member's seed draws the factors that training starts from.

    Raises:
        ValueError: For an unknown initialization, or as in :class:`MatrixMethod`.
    """

    scale: Tensor

    def __init__(self, target: Tensor, *, initialization: str = "normal", **common: Any) -> None:
        super().__init__(target, **common)
        require_one_of("method.initialization", initialization, ("normal", "uniform"))
        solver, norms, dtype = solver_class(self.make_optimizer), self.seen_norms(), self.target.dtype
        scale = norms if solver is None or solver.unit_scale else torch.ones_like(norms)
        self.register_buffer("scale", scale.to(dtype)[:, None, None], persistent=False)
        self.loss_unit = scale.square().to(dtype)
        left, right = self._start(initialization)
        self.left, self.right = nn.Parameter(left.to(dtype)), nn.Parameter(right.to(dtype))
        self._objective: Objective | None = None

    def seen_norms(self) -> Tensor:
        """Frobenius norm of the entries that training sees, shape ``(J,)``, float64."""
        return torch.linalg.matrix_norm(self.reference)

    def make_objective(self) -> Objective:
        """The entries that training sees, at the scale that it is done in."""
        return KnownTarget(self.target / self.scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        """``U`` and ``Vᵀ`` in the units of the target."""
        return self.left * self.scale, self.right

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor]:
        """The factors themselves."""
        if self._objective is None:
            self._objective = self.make_objective()
        return self._objective, self.left, self.right

    def losses(self, step: int) -> Tensor:
        """``½ ‖residual‖²`` on the entries seen."""
        objective, left, right = self.pair_problem()
        return objective.residual(left, right).flatten(1).square().sum(1) / 2

    def _start(self, initialization: str) -> tuple[Tensor, Tensor]:
        stack, rows, cols = self.reference.shape
        left = torch.zeros(stack, rows, self.width, dtype=torch.float64)
        right = torch.zeros(stack, self.width, cols, dtype=torch.float64)
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
