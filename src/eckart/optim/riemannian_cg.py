"""Riemannian conjugate gradient on factor pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from eckart.optim.line_search import inner, minimize_along
from eckart.optim.objectives import Objective
from eckart.optim.solver import PairSolver


class RiemannianCG(PairSolver):
    r"""Conjugate gradient in the scaled metric of the fixed-rank manifold, with exact line search.

    The gradient of each factor is preconditioned by the Gram matrix of the other, so the iterates do not depend on how
    a product is split into factors (up to the damping), and their number hardly depends on the condition number of the
    target. Along a direction the product is quadratic in the step, the loss a polynomial of degree four, and its
    minimizer a root of a cubic.

    The first steps are alternating least squares, damped where only some entries are observed: they bring a random
    start to the scale and the leading directions of the target.

    Stationarity is ``ρ = √⟨G, Z⟩``, the gradient in the scaled metric; it has the units of
    the target.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: A member stops when ``ρ`` is at most this fraction of the norm of the entries seen.
        damping: Multiple of the mean of the Gram matrix's diagonal that is added to it; keeps rank-deficient
            targets, whose factors shrink to a lower rank, from dividing by zero.
        warm_up: How many of the steps are alternating least squares; 0 where the factors are good already.

    Example:
        >>> from eckart.optim.objectives import KnownTarget
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

    def restart(self, members: Tensor) -> None:
        """The next step of these members is steepest descent."""
        memory = self.state[self.left]
        if "direction" in memory:
            memory["direction"] = tuple(torch.where(members[:, None, None], 0, part) for part in memory["direction"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Take one step, least squares at first, and return ``‖residual‖²`` before it, shape ``(J,)``."""
        left, right, memory = self.left, self.right, self.state[self.left]
        memory["steps"] = memory.get("steps", 0) + 1
        if memory["steps"] <= self.defaults["warm_up"]:
            return self._least_squares(self.objective.ridge)
        residual, slope, gradient, natural, _ = self._look(self.defaults["damping"])
        rho = slope.clamp(min=0).sqrt()
        self.active &= ~(rho <= self.tolerance * self.objective.norms)

        direction, descent = (-natural[0], -natural[1]), -slope
        if "direction" in memory:
            beta = ((slope - inner(natural, memory["gradient"])) / memory["slope"]).nan_to_num(0, 0, 0).clamp(min=0)
            conjugate = _add(direction, beta, memory["direction"])
            # A conjugate direction that does not descend is dropped for steepest descent.
            along = inner(conjugate, gradient)
            descends = along < 0
            descent = torch.where(descends, along, descent)
            direction = (
                torch.where(descends[:, None, None], conjugate[0], direction[0]),
                torch.where(descends[:, None, None], conjugate[1], direction[1]),
            )
        length = minimize_along(descent, *self.objective.along(residual, left, right, direction))
        length = torch.where(self.active, length, 0)
        left += _scale(length, direction[0])
        right += _scale(length, direction[1])
        memory.update(gradient=gradient, slope=slope, direction=direction)
        return self.objective.squares(residual)


def _add(direction: tuple[Tensor, Tensor], factor: Tensor, other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return direction[0] + _scale(factor, other[0]), direction[1] + _scale(factor, other[1])


def _scale(factor: Tensor, matrices: Tensor) -> Tensor:
    return factor[:, None, None] * matrices
