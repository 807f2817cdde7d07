"""Optimizers for factor pairs. They see the objective and not only its gradient, and train a whole stack at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

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

    @torch.no_grad()
    def squared_residual(self) -> Tensor:
        """``‖residual‖²`` now, shape ``(J,)``."""
        residual = self.objective.residual(self.left, self.right)
        return _inner((residual,), (residual,))


class RiemannianCG(PairSolver):
    r"""Conjugate gradient in the scaled metric of the fixed-rank manifold, with exact line search.

    The gradient of each factor is preconditioned by the Gram matrix of the other, so the iterates do not depend on
    how a product is split into factors, nor on the condition number of the target. Along a direction the product is
    quadratic in the step, the loss a polynomial of degree four, and its minimizer a root of a cubic.

    Stationarity is :math:`\rho = \sqrt{\langle G, Z\rangle}`, the gradient in the scaled metric; it has the units of
    the target.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: A member stops when :math:`\rho` is at most this fraction of the norm of the entries seen.
        damping: Multiple of the mean of the Gram matrix's diagonal that is added to it; keeps rank-deficient
            targets, whose factors shrink to a lower rank, from dividing by zero.

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
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 1e-8, damping: float = 1e-6
    ) -> None:
        super().__init__(objective, left, right, tolerance=tolerance, damping=damping)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Take one conjugate gradient step and return ``‖residual‖²`` before it, shape ``(J,)``."""
        left, right, memory = self.left, self.right, self.state[self.left]
        residual = self.objective.residual(left, right)
        gradient, natural = _scaled_gradient(self.objective, residual, left, right, self.defaults["damping"])
        slope = _inner(gradient, natural)
        rho = slope.clamp(min=0).sqrt()
        self.active &= (rho > self.tolerance * self.objective.norms) & rho.isfinite()

        direction = (-natural[0], -natural[1])
        if memory:
            beta = ((slope - _inner(natural, memory["gradient"])) / memory["slope"]).nan_to_num(0, 0, 0).clamp(min=0)
            conjugate = _add(direction, beta, memory["direction"])
            # A conjugate direction that does not descend is dropped for steepest descent.
            descends = (_inner(conjugate, gradient) < 0)[:, None, None]
            direction = (
                torch.where(descends, conjugate[0], direction[0]),
                torch.where(descends, conjugate[1], direction[1]),
            )
        linear = self.objective.product(direction[0], right) + self.objective.product(left, direction[1])
        length = _exact_step(residual, linear, self.objective.product(*direction), _inner(direction, gradient))
        length = torch.where(self.active, length, 0)
        left += _scale(length, direction[0])
        right += _scale(length, direction[1])
        memory.update(gradient=gradient, slope=slope, direction=direction)
        return _inner((residual,), (residual,))


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
        before = self.squared_residual()
        self.active &= stationarity(self.objective, self.left, self.right) > self.tolerance
        trained = self.active[:, None, None]
        self.left.copy_(torch.where(trained, self.objective.best_left(self.right), self.left))
        self.right.copy_(torch.where(trained, self.objective.best_right(self.left), self.right))
        return before


class EntrywiseSGD(PairSolver):
    """Stochastic gradient descent over single entries, in row-major order, as in the lab.

    One step passes once over the entries: ``e = A[r, c] - U[r]·V[c]``, ``U[r] += lr e V[c]``, then
    ``V[c] += lr e U[r]`` with the new ``U[r]``. The loop is compiled without fused multiply-add or reordering, so its
    iterates are those of a plain Python loop, bit for bit.

    Args:
        objective: The entries of a stack of targets, on the CPU.
        left: ``U``, shape ``(J, m, k)``.
        right: ``Vᵀ``, shape ``(J, k, n)``.
        tolerance: Unused: this algorithm has no certificate; it runs as many epochs as it is given.
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
    return _inner(gradient, natural).clamp(min=0).sqrt() / objective.norms


@torch.no_grad()
def turn_to_target(objective: Objective, left: Tensor, right: Tensor) -> None:
    """Change the sign of each left factor in place whose product points away from its target.

    Such a product would have to pass zero, a saddle where a solver of a 1×1 target stays.

    Example:
        >>> from lowrank.objectives import KnownTarget
        >>> left, right = torch.ones(1, 1, 1), torch.ones(1, 1, 1)
        >>> turn_to_target(KnownTarget(torch.tensor([[[-3.0]]])), left, right)
        >>> left @ right
        tensor([[[-1.]]])
    """
    product = objective.product(left, right)
    target = product - objective.residual(left, right)
    left *= torch.where(_inner((product,), (target,)) < 0, -1.0, 1.0).to(left.dtype)[:, None, None]


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


def _inner(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(x * y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def _scale(factor: Tensor, matrices: Tensor) -> Tensor:
    return factor[:, None, None] * matrices


def _exact_step(residual: Tensor, linear: Tensor, quadratic: Tensor, slope: Tensor) -> Tensor:
    """Global minimizer over ``t >= 0`` of ``½ ‖residual + t linear + t² quadratic‖²``, shape ``(J,)``."""
    q = _inner((linear,), (linear,)) + 2 * _inner((residual,), (quadratic,))
    c = _inner((linear,), (quadratic,))
    d = _inner((quadratic,), (quadratic,))
    b = slope.clamp(max=-torch.finfo(slope.dtype).tiny)
    # The derivative is b + q t + 3c t² + 2d t³ with b < 0. In u = 1/t its leading coefficient b cannot vanish.
    candidates = _cubic_roots(q / b, 3 * c / b, 2 * d / b)
    steps = torch.where(candidates > 0, 1 / candidates, 0)
    for _ in range(3):
        first = b + steps * (q + steps * (3 * c + steps * 2 * d))
        second = q + steps * (6 * c + steps * 6 * d)
        polished = torch.where(second > 0, steps - first / second, steps)
        steps = torch.where((steps > 0) & (polished > 0), polished, steps)
    value = steps * (b + steps * (q / 2 + steps * (c + steps * d / 2)))
    # Two roots can be equally good but for rounding, which is that of the largest term: the nearer one is taken then.
    rounding = steps * (b.abs() + steps * (q.abs() / 2 + steps * (c.abs() + steps * d / 2)))
    value = (value + 16 * torch.finfo(value.dtype).eps * rounding).nan_to_num(nan=torch.inf)
    return steps.gather(0, value.argmin(0, keepdim=True))[0]


def _cubic_roots(a2: Tensor, a1: Tensor, a0: Tensor) -> Tensor:
    """Real roots of ``u³ + a2 u² + a1 u + a0``, shape ``(3, J)``; a single one stands three times."""
    shift = a2 / 3
    p = (a1 - a2 * shift) / 3
    half = (2 * shift**3 - shift * a1 + a0) / 2
    discriminant = half**2 + p**3
    root = discriminant.clamp(min=0).sqrt()
    # The sign avoids cancellation; the other cube root follows from their product, -p.
    big = -torch.copysign((half.abs() + root) ** (1 / 3), half)
    single = big - torch.where(big == 0, 0, p / big)
    radius = 2 * (-p).clamp(min=0).sqrt()
    # All three meet where p is 0; the angle is then any.
    cosine = -half / ((-p).clamp(min=0) ** 1.5).clamp(min=torch.finfo(p.dtype).tiny)
    angle = torch.acos(cosine.clamp(-1, 1)) / 3
    turns = torch.tensor([0.0, 2.0, 4.0], dtype=p.dtype, device=p.device)[:, None] * (torch.pi / 3)
    triple = radius * torch.cos(angle - turns)
    return torch.where(discriminant > 0, single, triple) - shift
