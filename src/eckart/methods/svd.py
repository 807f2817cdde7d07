"""The baseline that every trained method is held against: truncated SVD."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.checks import require_one_of
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.svd import gram_svd, truncated_svd
from eckart.methods.base import MatrixMethod
from eckart.optim.objectives import KnownTarget, Objective

Solver = Callable[[Tensor, int, int], tuple[Tensor, Tensor, Tensor]]


class SVD(MatrixMethod):
    """Truncated SVD of each target, computed in one step.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.
        solver: ``exact``, ``gram`` (from the Gram matrix: fast for tall data) or ``randomized``.
        tolerance: Residual at which the randomized solver stops, relative to the largest singular value.
        **common: As in :class:`MatrixMethod`; a member's seed draws the sketch of the randomized solver.

    Raises:
        ValueError: For an unknown solver, or as in :class:`MatrixMethod`.
    """

    left: Tensor
    right: Tensor

    def __init__(
        self,
        target: Tensor,
        *,
        solver: str = "exact",
        tolerance: float = 1e-10,
        **common: Any,
    ) -> None:
        super().__init__(target, **common)
        solvers: dict[str, Solver] = {
            "exact": lambda matrix, rank, _: truncated_svd(matrix, rank),
            "gram": lambda matrix, rank, _: gram_svd(matrix, rank),
            "randomized": lambda matrix, rank, seed: randomized_svd(matrix, rank, seed=seed, tolerance=tolerance),
        }
        require_one_of("method.solver", solver, solvers)
        self._solve = solvers[solver]
        (stack, rows, cols), dtype = target.shape, self.target.dtype
        self.register_buffer("left", torch.zeros(stack, rows, self.width, dtype=dtype))
        self.register_buffer("right", torch.zeros(stack, self.width, cols, dtype=dtype))

    def configure_optimizers(self) -> None:  # type: ignore[override]
        """Nothing is trained."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """``U Σ^½`` and ``Σ^½ Vᵀ`` of each member."""
        return self.left, self.right

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """None: there is no descent to certify."""
        return None

    def stop_reason(self, member: int) -> str:
        """One decomposition."""
        return "computed"

    def _advance(self, step: int) -> Tensor:
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            u, s, vh = self._solve(self.target[member], rank, seed)
            self.left[member, :, :rank] = u * s.sqrt()
            self.right[member, :rank] = s.sqrt()[:, None] * vh
        objective = KnownTarget(self.target)
        return objective.residual(self.left, self.right).square().sum((1, 2))
