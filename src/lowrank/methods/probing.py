"""What the methods share that learn a matrix from probes and their images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowrank.methods.base import MatrixMethod, OptimizerFactory, solver_class
from lowrank.objectives import KnownTarget, Objective
from lowrank.probes import Probes


class ProbingMethod(MatrixMethod):
    """A model that learns a matrix from probes x and their images A x.

    On a fixed set of probes ``X (N, n)`` the mean squared error of a model that stands for W is
    ``‖(W - A) Tᵀ‖² / m`` with ``XᵀX / N = TᵀT``. So a :class:`PairSolver` is given the target ``A Tᵀ``, and what it
    finds is the minimizer on those probes. A set of orthogonal probes has T = I, and the minimizer is the truncated
    SVD.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.
        ranks: Rank of each member.
        seeds: Seed of each member; draws its probes and its initial weights.
        optimizer: Makes the optimizer.
        dtype: Type that is trained in.
        probes: Law of the probes: ``orthogonal``, ``gaussian`` or ``uniform``.
        vectors: How many are drawn once; None draws fresh ones at each step (orthogonal: one set of n).
        batch_size: Probes a step; None takes all, or 32 of fresh ones.
        **common: As in :class:`MatrixMethod`.

    Raises:
        ValueError: If a solver is asked for that needs fixed probes and there are none, or fewer than n.
    """

    left: Tensor
    right: Tensor
    scale: Tensor

    def __init__(
        self,
        target: Tensor,
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: OptimizerFactory,
        dtype: torch.dtype = torch.float64,
        probes: str = "orthogonal",
        vectors: int | None = None,
        batch_size: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(target, ranks=ranks, seeds=seeds, optimizer=optimizer, dtype=dtype, **common)
        stack, rows, size = target.shape
        self.probes = [Probes(probes, size, vectors=vectors, batch_size=batch_size, seed=seed) for seed in seeds]
        # Exact by construction; from the probes it would be so only to rounding.
        self._isotropic = probes == "orthogonal" and len(self.probes[0].all) % size == 0
        self._solved = solver_class(optimizer) is not None
        # The mean over the outputs too, as in the paper.
        self.loss_unit /= rows
        self._objective: KnownTarget | None = None
        self._triangle: Tensor | None = None
        norms = torch.linalg.matrix_norm(self.target)
        self.register_buffer("scale", norms[:, None, None], persistent=False)
        if self._solved:
            if self.probes[0].fixed and len(self.probes[0].all) < size:
                raise ValueError(
                    f"This optimizer needs at least n = {size} probes to learn a matrix from. "
                    f"Found method.vectors={vectors}."
                )
            self.loss_unit *= norms.square()
            self.register_buffer("left", torch.zeros(stack, rows, max(ranks), dtype=dtype))
            self.register_buffer("right", torch.zeros(stack, max(ranks), size, dtype=dtype))

    def assign(self, left: Tensor, right: Tensor) -> None:
        """Make the model stand for ``left @ right``."""
        raise NotImplementedError

    def batch(self, step: int) -> Tensor:
        """Probes of one step for each member, shape ``(J, batch, n)``."""
        return torch.stack([probes.batch(step) for probes in self.probes]).to(self.target)

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """Factors against the target as the fixed probes show it; None where they are fresh at each step."""
        if not self.probes[0].fixed or (self.probes[0].all.shape[0] < self.probes[0].size):
            return None
        if self._objective is None:
            target = self.target
            if not self._isotropic:
                everything = torch.stack([probes.all for probes in self.probes]).to(target)
                self._triangle = torch.linalg.qr(everything / everything.shape[1] ** 0.5, mode="r").R
                target = target @ self._triangle.mT
            self._objective = KnownTarget(target / self.scale)
        if self._solved:
            return self._objective, self.left, self.right
        left, right = self.factors()
        return self._objective, left / self.scale, self._seen(right)

    def on_train_start(self) -> None:
        """Hand the model's factors to the solver, at unit scale."""
        if self._solved and self.step_count == 0:
            self.fixed_problem()
            left, right = self.factors()
            self.left.copy_(left / self.scale)
            self.right.copy_(self._seen(right))
            self.on_block_end()
        super().on_train_start()

    def on_block_end(self) -> None:
        """Bring the model up to date with the solver."""
        if self._solved:
            right = self.right
            if self._triangle is not None:
                right = torch.linalg.solve_triangular(self._triangle, right.mT, upper=True).mT
            self.assign(self.left * self.scale, right)

    def _seen(self, right: Tensor) -> Tensor:
        return right if self._triangle is None else right @ self._triangle.mT
