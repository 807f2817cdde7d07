"""What solvers of factor pairs share, and alternating least squares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from eckart.linalg.svd import balance
from eckart.optim.line_search import inner
from eckart.optim.objectives import Objective, damped


class Look(NamedTuple):
    """What a step asks of a factor pair.

    Attributes:
        residual: The sight of the objective.
        slope: ``⟨gradient, natural⟩``, shape ``(J,)``.
        gradient: Gradients of both factors.
        natural: Each preconditioned by the Gram matrix of the other.
        damping: What was added to these.
    """

    residual: Any
    slope: Tensor
    gradient: tuple[Tensor, Tensor]
    natural: tuple[Tensor, Tensor]
    damping: float

    @classmethod
    def at(cls, objective: Objective, left: Tensor, right: Tensor, damping: float) -> "Look":
        """Look at an objective from a pair."""
        residual = objective.sight(left, right)
        gradient, natural = scaled_gradient(objective, residual, left, right, damping)
        return cls(residual, inner(gradient, natural), gradient, natural, damping)


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
    on_cpu = False
    """Whether the solver computes on the CPU alone; ``trainer=auto`` then trains there."""

    def __init__(
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 0.0, **defaults: Any
    ) -> None:
        super().__init__([{"params": [left, right]}], defaults)
        self.objective, self.left, self.right, self.tolerance = objective, left, right, tolerance
        self.active = torch.ones(len(left), dtype=torch.bool, device=left.device)
        """Members that are still trained, shape ``(J,)``."""
        self._last: tuple[Tensor, Tensor, Tensor, Look] | None = None
        self.register_step_pre_hook(_call_closure)

    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Train every active member by one step and return ``‖residual‖²`` before it, shape ``(J,)``.

        Args:
            closure: Called before the step; its value is not used. Lightning's callbacks see the step by it.
        """
        raise NotImplementedError

    def restart(self, members: Tensor) -> None:
        """Forget what was learned of the past of members whose factors were moved, boolean, shape ``(J,)``."""

    def at_rest(self) -> Tensor:
        """Members that the solver has nothing further to try for, where their gradient vanishes, shape ``(J,)``."""
        return torch.ones_like(self.active)

    @torch.no_grad()
    def stationarity(self) -> Tensor:
        """:func:`stationarity` of the factors as they are; a step that comes next computes its gradient no more."""
        look = self._look(self.defaults.get("damping", 1e-6))
        # Only what a step that comes next asks for is kept.
        self._last = self.objective.norms, self.left.clone(), self.right.clone(), look
        return look.slope.clamp(min=0).sqrt() / self.objective.norms

    def _look(self, damping: float) -> Look:
        """What a step asks of the factors as they are, which a certificate before it has asked for as well."""
        look, self._last = self._last_look(), None
        if look is not None and look.damping == damping:
            return look
        return Look.at(self.objective, self.left, self.right, damping)

    def _last_look(self) -> Look | None:
        """What is known of the factors and of the entries seen, if they are those of the last certificate."""
        if self._last is None:
            return None
        norms, left, right, look = self._last
        # Entries that are released change the norms; and a version of a tensor does not tell what numpy writes.
        same = norms is self.objective.norms and torch.equal(left, self.left) and torch.equal(right, self.right)
        return look if same else None

    def _least_squares(self, damping: float) -> Tensor:
        residual, slope, _, _, _ = self._look(1e-6)
        done = slope.clamp(min=0).sqrt() <= self.tolerance * self.objective.norms
        self.active &= ~(done & (self.tolerance > 0))
        before, trained = self.objective.squares(residual), self.active[:, None, None]
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
        known = self._last_look()
        residual = self.objective.sight(self.left, self.right) if known is None else known.residual
        found = self.objective.squares(residual)
        if (found > 1e-6 * self.objective.norms.square()).all():
            return found
        # A difference of two norms has lost too many digits.
        return self.objective.squares(self.objective.residual(self.left, self.right))


def _call_closure(solver: Optimizer, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    closure = keywords.get("closure", arguments[1] if len(arguments) > 1 else None)
    if closure is not None:
        closure()


class ALS(PairSolver):
    """Alternating least squares: each factor in turn is the best one for the other.

    A member stops when its gradient in the scaled metric is at most ``tolerance`` of the norm of the entries seen.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: As said.

    Example:
        >>> from eckart.optim.objectives import KnownTarget
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


@torch.no_grad()
def stationarity(objective: Objective, left: Tensor, right: Tensor, *, damping: float = 1e-6) -> Tensor:
    r"""Norm of the gradient in the scaled metric, as a fraction of the norm of the entries seen, shape ``(J,)``.

    It is zero at an optimum, and also at a saddle. It does not depend on how the product is split into factors, up to
    the damping: of factors whose Gram matrices have condition numbers above ``1 / damping`` it is too small.

    Example:
        >>> from eckart.optim.objectives import KnownTarget
        >>> target = torch.diag(torch.tensor([2.0, 1.0]))[None]
        >>> best = torch.tensor([[[1.0], [0.0]]])
        >>> stationarity(KnownTarget(target), 2 * best, best.mT)
        tensor([0.])
    """
    return Look.at(objective, left, right, damping).slope.clamp(min=0).sqrt() / objective.norms


def scaled_gradient(
    objective: Objective, residual: Any, left: Tensor, right: Tensor, damping: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Gradients of both factors, and each preconditioned by the Gram matrix of the other."""
    gradient = objective.gradients(residual, left, right)
    by_right, by_left = damped(torch.stack([right @ right.mT, left.mT @ left]), damping)
    return gradient, (
        torch.linalg.solve_ex(by_right, gradient[0], left=False).result,
        # The solution comes column by column, and products with it would take a quarter longer.
        torch.linalg.solve_ex(by_left, gradient[1]).result.contiguous(),
    )
