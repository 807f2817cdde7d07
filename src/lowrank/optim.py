"""Optimizers for factor pairs. They see the objective and not only its gradient, and train a whole stack at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lowrank.linalg import balance
from lowrank.line_search import inner, minimize_along
from lowrank.objectives import Objective, solve_damped


class PairSolver(Optimizer):
    """An optimizer of one factor pair per member of a stack.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``; trained in place.
        right: Right factors, shape ``(J, k, n)``; trained in place.
        tolerance: A member stops once its stationarity falls to this fraction of the norm of the entries seen.
        defaults: Settings of the solver.

    Columns of ``left`` and rows of ``right`` beyond the rank of a member are zero and stay zero.
    """

    unit_scale = True
    """Whether the solver is to be given targets of norm 1: its iterates do not depend on the scale."""

    def __init__(
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 0.0, **defaults: Any
    ) -> None:
        super().__init__([{"params": [left, right]}], defaults)
        self.objective, self.left, self.right, self.tolerance = objective, left, right, tolerance
        self.active = torch.ones(len(left), dtype=torch.bool, device=left.device)
        """Members that are still trained, shape ``(J,)``."""

    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Train every active member by one step and return ``‖residual‖²`` before it, shape ``(J,)``."""
        raise NotImplementedError

    def _least_squares(self, damping: float) -> Tensor:
        done = stationarity(self.objective, self.left, self.right) <= self.tolerance
        self.active &= ~(done & (self.tolerance > 0))
        before, trained = self.squared_residual(), self.active[:, None, None]
        ranks = (self.right != 0).any(-1).sum(-1, keepdim=True)
        left = self.objective.best_left(self.right, damping)
        # The last solution has all of the scale. Shared evenly, the Gram matrices are no worse conditioned than the
        # target, not its square, and no damping drowns their small directions.
        right = self.objective.best_right(left, damping)
        sound = (left.isfinite().flatten(1).all(1) & right.isfinite().flatten(1).all(1))[:, None, None]
        balanced = balance(torch.where(sound & trained, left, 0), torch.where(sound & trained, right, 0))
        left, right = torch.where(sound, balanced[0], left), torch.where(sound, balanced[1], right)
        # Rounding must not wake what lies beyond the rank of a member.
        kept = (torch.arange(left.shape[-1], device=left.device) < ranks)[:, None]
        self.left.copy_(torch.where(trained, left * kept, self.left))
        self.right.copy_(torch.where(trained, right * kept.mT, self.right))
        return before

    @torch.no_grad()
    def squared_residual(self) -> Tensor:
        """``‖residual‖²`` now, shape ``(J,)``."""
        residual = self.objective.residual(self.left, self.right)
        return inner((residual,), (residual,))


class RiemannianCG(PairSolver):
    r"""Conjugate gradient in the scaled metric of the fixed-rank manifold, with exact line search.

    The gradient of each factor is preconditioned by the Gram matrix of the other, so the iterates do not depend on
    how a product is split into factors, nor on the condition number of the target. Along a direction the product is
    quadratic in the step, the loss a polynomial of degree four, and its minimizer a root of a cubic.

    The first steps are alternating least squares, damped where only some entries are observed: they bring a random
    start to the scale and the leading directions of the target.

    Stationarity is :math:`\rho = \sqrt{\langle G, Z\rangle}`, the gradient in the scaled metric; it has the units of
    the target.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: A member stops when :math:`\rho` is at most this fraction of the norm of the entries seen.
        damping: Multiple of the mean of the Gram matrix's diagonal that is added to it; keeps rank-deficient
            targets, whose factors shrink to a lower rank, from dividing by zero.
        warm_up: How many of the steps are alternating least squares; 0 where the factors are good already.

    Example:
        >>> from lowrank.objectives import KnownTarget
        >>> target = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))[None]
        >>> left = torch.eye(3, 2, dtype=torch.float64)[None] + 0.1
        >>> solver = RiemannianCG(KnownTarget(target), left, left.mT.clone(), tolerance=1e-10)
        >>> while solver.active.any():
        ...     squared = solver.step()
        >>> round(squared.item(), 10)
        1.0

    References:
        Tong, Ma & Chi, JMLR 22, 2021 (scaled metric); Vandereycken, SIAM J. Optim. 23, 2013; Mishra & Sepulchre,
        Comput. Stat. 29, 2014.
    """

    def __init__(
        self,
        objective: Objective,
        left: Tensor,
        right: Tensor,
        *,
        tolerance: float = 1e-8,
        damping: float = 1e-6,
        warm_up: int = 8,
    ) -> None:
        super().__init__(objective, left, right, tolerance=tolerance, damping=damping, warm_up=warm_up)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Take one step, least squares at first, and return ``‖residual‖²`` before it, shape ``(J,)``."""
        left, right, memory = self.left, self.right, self.state[self.left]
        memory["steps"] = memory.get("steps", 0) + 1
        if memory["steps"] <= self.defaults["warm_up"]:
            return self._least_squares(self.objective.ridge)
        residual = self.objective.residual(left, right)
        gradient, natural = _scaled_gradient(self.objective, residual, left, right, self.defaults["damping"])
        slope = inner(gradient, natural)
        rho = slope.clamp(min=0).sqrt()
        self.active &= ~(rho <= self.tolerance * self.objective.norms)

        direction = (-natural[0], -natural[1])
        if "direction" in memory:
            beta = ((slope - inner(natural, memory["gradient"])) / memory["slope"]).nan_to_num(0, 0, 0).clamp(min=0)
            conjugate = _add(direction, beta, memory["direction"])
            # A conjugate direction that does not descend is dropped for steepest descent.
            descends = (inner(conjugate, gradient) < 0)[:, None, None]
            direction = (
                torch.where(descends, conjugate[0], direction[0]),
                torch.where(descends, conjugate[1], direction[1]),
            )
        linear = self.objective.product(direction[0], right) + self.objective.product(left, direction[1])
        length = minimize_along(residual, linear, self.objective.product(*direction), inner(direction, gradient))
        length = torch.where(self.active, length, 0)
        left += _scale(length, direction[0])
        right += _scale(length, direction[1])
        memory.update(gradient=gradient, slope=slope, direction=direction)
        return inner((residual,), (residual,))


class ALS(PairSolver):
    """Alternating least squares: each factor in turn is the best one for the other.

    A member stops when its gradient in the scaled metric is at most ``tolerance`` of the norm of the entries seen.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: As said.

    Example:
        >>> from lowrank.objectives import KnownTarget
        >>> target = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))[None]
        >>> right = torch.ones(1, 1, 3, dtype=torch.float64)
        >>> solver = ALS(KnownTarget(target), right.mT.clone(), right, tolerance=1e-8)
        >>> while solver.active.any():
        ...     squared = solver.step()
        >>> round(squared.item(), 10)
        5.0
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Solve for both factors once and return ``‖residual‖²`` before it, shape ``(J,)``."""
        return self._least_squares(0.0)


class EntrywiseSGD(PairSolver):
    """Stochastic gradient descent over single entries, in row-major order, as in the lab.

    One step passes once over the entries: ``e = A[r, c] - U[r]·V[c]``, ``U[r] += lr e V[c]``, then
    ``V[c] += lr e U[r]`` with the new ``U[r]``. The loop is compiled without fused multiply-add or reordering, so its
    iterates are those of a plain Python loop, bit for bit.

    Args:
        objective: The entries of a stack of targets, on the CPU.
        left: ``U``, shape ``(J, m, k)``.
        right: ``Vᵀ``, shape ``(J, k, n)``.
        tolerance: Unused: the lab's algorithm has no certificate of its own.
        lr: Learning rate.

    Raises:
        ValueError: If the factors are not on the CPU.
    """

    unit_scale = False

    def __init__(
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 0.0, lr: float = 0.01
    ) -> None:
        super().__init__(objective, left, right, tolerance=tolerance, lr=lr)
        if left.device.type != "cpu":
            raise ValueError(f"optimizer=entrywise_sgd runs on the CPU: trainer=cpu. Found {left.device.type}.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Pass once over the entries and return ``‖residual‖²`` before it, shape ``(J,)``."""
        from lowrank.entrywise import sweep

        before = self.squared_residual()
        for member in self.active.nonzero()[:, 0].tolist():
            row, col, values = self.objective.entries(member)
            sweep(
                row.numpy(),
                col.numpy(),
                values.numpy(),
                self.left[member].numpy(),
                self.right[member].numpy().T,
                self.param_groups[0]["lr"],
            )
        return before


@torch.no_grad()
def stationarity(objective: Objective, left: Tensor, right: Tensor, *, damping: float = 1e-6) -> Tensor:
    r"""Norm of the gradient in the scaled metric, as a fraction of the norm of the entries seen, shape ``(J,)``.

    It is zero at an optimum, and also at a saddle; it does not depend on how the product is split into factors.

    Example:
        >>> from lowrank.objectives import KnownTarget
        >>> target = torch.diag(torch.tensor([2.0, 1.0]))[None]
        >>> best = torch.tensor([[[1.0], [0.0]]])
        >>> stationarity(KnownTarget(target), 2 * best, best.mT)
        tensor([0.])
    """
    residual = objective.residual(left, right)
    gradient, natural = _scaled_gradient(objective, residual, left, right, damping)
    return inner(gradient, natural).clamp(min=0).sqrt() / objective.norms


def _scaled_gradient(
    objective: Objective, residual: Tensor, left: Tensor, right: Tensor, damping: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Gradients of both factors, and each preconditioned by the Gram matrix of the other."""
    gradient = objective.gradients(residual, left, right)
    natural = (
        solve_damped(right @ right.mT, gradient[0], damping, left=False),
        solve_damped(left.mT @ left, gradient[1], damping),
    )
    return gradient, natural


def _add(direction: tuple[Tensor, Tensor], factor: Tensor, other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return direction[0] + _scale(factor, other[0]), direction[1] + _scale(factor, other[1])


def _scale(factor: Tensor, matrices: Tensor) -> Tensor:
    return factor[:, None, None] * matrices
