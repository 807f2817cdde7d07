"""A matrix method as a problem of the driver: trained by a solver of factor pairs, or along a gradient."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eckart.optim.entrywise_sgd import EntrywiseSGD
from eckart.optim.fit import PairProblem
from eckart.optim.objectives import KnownTarget, Objective
from eckart.optim.products import KnownOperator
from eckart.optim.second_order import leave_saddles
from eckart.optim.solver import PairSolver, stationarity


class Trained(Protocol):
    """What the problems ask of a matrix method; :class:`eckart.methods.matrix.MatrixMethod` says what each is."""

    ranks: list[int]
    tolerance: float
    loss_unit: Tensor

    def scheduled(self, step: int) -> Any:
        """The optimizer, at the learning rate of a step."""

    def descend(self, step: int) -> Tensor:
        """Losses of a step, with their gradient left in the parameters."""

    def losses(self, step: int) -> Tensor:
        """Losses of a step."""

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """The loss as a problem in two factors."""

    def set_factors(self, left: Tensor, right: Tensor) -> None:
        """Take over factors in the form of that problem."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """The approximations."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """What an optimizer of ``torch.optim`` trains."""


class SolverProblem(PairProblem):
    """A method that a :class:`PairSolver` trains, with its schedule and the unit of its loss."""

    def __init__(self, method: Trained, solver: PairSolver) -> None:
        super().__init__(solver, method.ranks)
        self._method = method

    def advance(self, step: int, active: Tensor) -> Tensor:
        """One step of the solver, at the learning rate of its schedule."""
        self.solver.active = active
        return self._method.loss_unit * self._method.scheduled(step).step()

    def loss(self, step: int) -> Tensor:
        """``‖residual‖²`` in the unit of the loss."""
        return self._method.loss_unit * super().loss(step)


class PassesProblem(SolverProblem):
    """A method whose solver passes over the entries many times in one call."""

    solver: EntrywiseSGD

    def advance_to(self, step: int, stop: int, active: Tensor) -> tuple[int, Tensor]:
        """Passes towards ``stop``, and the losses before the last of them."""
        self.solver.active = active
        count = self.solver.at_once(stop - step)
        return step + count, self._method.loss_unit * self.solver.passes(count)


class LossProblem:
    """A method that an optimizer of ``torch.optim`` trains, as a problem of the driver."""

    def __init__(self, method: Trained) -> None:
        self._method = method

    def advance(self, step: int, active: Tensor) -> Tensor:
        """One step of the optimizer; the losses before it."""
        method = self._method
        optimizer, losses = method.scheduled(step), method.loss_unit

        def closure() -> float:
            nonlocal losses
            losses = method.descend(step)
            return losses.sum()  # type: ignore[return-value]

        optimizer.step(closure)
        return 2 * method.loss_unit * losses

    def tensors(self) -> list[Tensor]:
        """The parameters."""
        return [parameter.data for parameter in self._method.parameters()]

    def loss(self, step: int) -> Tensor:
        """Losses of the batch of a step."""
        return 2 * self._method.loss_unit * self._method.losses(step)

    def size(self) -> Tensor:
        """Product of the norms of both factors."""
        left, right = self._method.factors()
        return torch.linalg.matrix_norm(left) * torch.linalg.matrix_norm(right)

    def certificate(self) -> Tensor | None:
        """The gradient of the factors in the scaled metric; None where the loss changes from step to step."""
        problem = self._method.pair_problem()
        return None if problem is None else stationarity(*problem)

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        """By the leading residual directions, where the loss is that of a target known in full."""
        problem = self._method.pair_problem() if members.any() else None
        if problem is None or always or not isinstance(problem[0], KnownTarget | KnownOperator):
            # A momentum that was gathered elsewhere would undo a move in the middle of the way.
            return torch.zeros_like(members)
        objective, left, right = problem[0], problem[1].detach().clone(), problem[2].detach().clone()
        method = self._method
        moved = leave_saddles(objective, left, right, method.ranks, members, tolerance=method.tolerance)
        if moved.any():
            with torch.no_grad():
                before = [parameter.detach().clone() for parameter in method.parameters()]
                method.set_factors(left, right)
                for old, parameter in zip(before, method.parameters(), strict=True):
                    kept = moved.view(-1, *[1] * (parameter.ndim - 1))
                    parameter.copy_(torch.where(kept, parameter, old))
        return moved
