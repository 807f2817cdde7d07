"""Training of factor pairs in plain Python: a solver, an objective, and the driver."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eckart.optim.driver import Driver
from eckart.optim.objectives import KnownTarget, Objective
from eckart.optim.products import KnownOperator
from eckart.optim.second_order import leave_saddles
from eckart.optim.solver import PairSolver


class PairProblem:
    """A factor pair and its solver, as a problem of the driver.

    Args:
        solver: Trains the pair against its objective.
        ranks: Rank of each member.
    """

    def __init__(self, solver: PairSolver, ranks: list[int]) -> None:
        self.solver, self.ranks = solver, ranks

    def advance(self, step: int, active: Tensor) -> Tensor:
        """One step of the solver; it stops members by itself where its own certificate holds."""
        self.solver.active = active
        return self.solver.step()

    def tensors(self) -> list[Tensor]:
        """Both factors."""
        return [self.solver.left, self.solver.right]

    def loss(self, step: int) -> Tensor:
        """``‖residual‖²``."""
        return self.solver.squared_residual()

    def size(self) -> Tensor:
        """Product of the norms of both factors."""
        return torch.linalg.matrix_norm(self.solver.left) * torch.linalg.matrix_norm(self.solver.right)

    def certificate(self) -> Tensor:
        """The gradient of both factors in the scaled metric; infinite where the solver goes on from an optimum."""
        found = self.solver.stationarity()
        return torch.where(self.solver.at_rest().to(found.device), found, torch.inf)

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        """By the leading residual directions of a target that is known in full."""
        solver = self.solver
        if not isinstance(solver.objective, KnownTarget | KnownOperator) or not members.any():
            return torch.zeros_like(members)
        moved = leave_saddles(
            solver.objective,
            solver.left,
            solver.right,
            self.ranks,
            members,
            tolerance=solver.tolerance,
            always=always,
        )
        solver.restart(moved)
        return moved


@dataclass
class Fit:
    """Result of :func:`fit`.

    Attributes:
        left: Left factors, shape ``(J, m, k)``.
        right: Right factors, shape ``(J, k, n)``.
        loss: ``‖residual‖²`` of each member, float64.
        steps: Steps of each member.
        converged: Members whose certificate holds.
        diverged: Members whose loss is no longer finite; their factors are the last finite ones.
        stationarity: Gradient in the scaled metric, relative to the norm of the entries seen.
        seconds: Time that the steps took.
        records: Step and loss of each record.
        reasons: Why each member stopped.
    """

    left: Tensor
    right: Tensor
    loss: Tensor
    steps: Tensor
    converged: Tensor
    diverged: Tensor
    stationarity: Tensor
    seconds: float
    records: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def fit(
    objective: Objective,
    left: Tensor,
    right: Tensor,
    solver: Callable[..., PairSolver],
    *,
    ranks: list[int] | None = None,
    max_steps: int = 2000,
    tolerance: float = 1e-10,
    record_every: int | None = None,
    on_record: Callable[[Driver, Tensor, Tensor], Any] | None = None,
) -> Fit:
    """Train a stack of factor pairs, in plain Python.

    Args:
        objective: The entries that ``left @ right`` is to match.
        left: Left factors to start from, shape ``(J, m, k)``; not changed.
        right: Right factors to start from, shape ``(J, k, n)``; not changed.
        solver: Makes the solver: a class of :class:`PairSolver` or a partial of one.
        ranks: Rank of each member; None for k. Columns beyond it must be zero and stay so.
        max_steps: Steps at most.
        tolerance: A member has converged when its gradient in the scaled metric is at most this fraction of the norm
            of the entries seen, and it does not rest at a saddle; 0 never stops.
        record_every: Steps between two records; None records ever further apart.
        on_record: Called at each record with the driver and the factors; may stop members by ``driver.stop``.

    Returns:
        Factors, loss and certificate of each member, and the records.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> from eckart.optim.riemannian_cg import RiemannianCG
        >>> target = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))[None]
        >>> left = torch.ones(1, 3, 2, dtype=torch.float64) + torch.eye(3, 2, dtype=torch.float64)
        >>> result = fit(KnownTarget(target), left, left.mT, RiemannianCG)
        >>> round(result.loss.item(), 10), result.converged.item()
        (1.0, True)
    """
    pair = left.detach().clone(), right.detach().clone()
    if tolerance > 0:
        # A gradient cannot be told from rounding below some eps.
        tolerance = max(tolerance, 16 * torch.finfo(left.dtype).eps)
    driver = Driver(len(left), max_steps=max_steps, tolerance=tolerance, record_every=record_every).to(left.device)
    problem = PairProblem(solver(objective, *pair, tolerance=tolerance), ranks or [left.shape[2]] * len(left))
    records: list[tuple[Tensor, Tensor]] = []

    def record() -> None:
        driver.record(problem)
        records.append((driver.steps.clone(), driver.loss.clone()))
        if on_record is not None:
            on_record(driver, *pair)

    record()
    while not driver.done:
        driver.block(problem)
        record()
    return Fit(
        *pair,
        loss=driver.loss,
        steps=driver.steps,
        converged=~driver.active & ~driver.diverged & (driver.stationarity <= tolerance).to(driver.active.device),
        diverged=driver.diverged,
        stationarity=driver.stationarity,
        seconds=driver.seconds,
        records=records,
        reasons=[driver.reason(member) for member in range(len(left))],
    )
