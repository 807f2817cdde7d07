"""Methods that learn a stack of matrices: their optimizers, and their certificate."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from eckart.linalg.operators import Dense, Operator
from eckart.linalg.ranks import check_rank
from eckart.linalg.reference import EXACT_ENTRIES
from eckart.methods.driven import DrivenMethod
from eckart.methods.optimizers import OptimizerFactory, is_lbfgs, solver_class
from eckart.methods.problems import LossProblem, PassesProblem, SolverProblem
from eckart.optim import schedules
from eckart.optim.driver import Problem
from eckart.optim.entrywise_sgd import EntrywiseSGD
from eckart.optim.objectives import Objective
from eckart.optim.schedules import Schedule
from eckart.optim.solver import PairSolver


class MatrixMethod(DrivenMethod):
    """A method that learns rank-k approximations of J targets of one shape at once.

    The certificate is the gradient in the scaled metric, computed from what training sees. Where the loss is that of a
    target known in full, such as the images of fixed probes, it includes a check that the point is no saddle; see
    :func:`eckart.optim.second_order.leave_saddles` for what that proves. On observed entries alone there is no such
    check, and with fresh probes at each step no certificate: the training then takes ``max_steps``.

    Args:
        stack: Number of targets J.
        shape: ``(m, n)`` of each.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.
        seeds: Seed of each member.
        optimizer: Makes the optimizer: of ``torch.optim`` from parameters, or a :class:`PairSolver`.
        schedule: Factor on the learning rate by the share of the steps that is done; None leaves it as it is.
        dtype: Type that is trained in.
        width: Rank that the factors are padded to with zeros, at least the largest of ``ranks``, which is the default.
            At equal width a member's numbers do not depend on its neighbors, bit for bit.
        max_steps: Steps at most.
        tolerance: A member is done when its gradient in the scaled metric is at most this fraction of the norm of what
            training sees. At least 16 eps of ``dtype``; 0 never stops.
        record_every: Steps between two records; None records each of the first steps and ever further apart.
        stop: ``gradient``; ``excess`` lets the run stop a member also when its excess over the optimum, which training
            does not know, is at most ``tolerance`` in both norms.

    Raises:
        ValueError: If a rank does not fit the shape, or a number is out of its range.

    Several processes can share the training. Steps on batches are then taken on each one's share of the batch; a
    :class:`PairSolver` does the same work in all of them. The first process decides when a member stops.
    """

    loss_unit: Tensor

    def __init__(
        self,
        stack: int,
        shape: tuple[int, int],
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        dtype: torch.dtype = torch.float64,
        width: int | None = None,
        max_steps: int = 1,
        tolerance: float = 0.0,
        record_every: int | None = None,
        stop: str = "gradient",
    ) -> None:
        # A gradient cannot be told from rounding below some eps.
        tolerance = max(tolerance, 16 * torch.finfo(dtype).eps) if tolerance > 0 else tolerance
        limits: dict[str, Any] = {
            "max_steps": max_steps,
            "tolerance": tolerance,
            "record_every": record_every,
            "stop": stop,
        }
        super().__init__(stack, ranks, seeds, **limits)
        for rank in ranks:
            check_rank(rank, shape)
        self.width = max(ranks) if width is None else width
        if self.width < max(ranks):
            raise ValueError(f"The width of a stack must be at least its largest rank, {max(ranks)}. Found {width}.")
        self.shape, self.trained_dtype = shape, dtype
        self.one_thread = shape[0] * shape[1] < 10**6
        self.make_optimizer, self.schedule = optimizer, schedule
        self.register_buffer("loss_unit", torch.ones(stack, dtype=dtype), persistent=False)
        """What a squared residual of 1 stands for in the loss that is reported, shape ``(J,)``."""

    @classmethod
    def stack_key(cls, rank: int, optimizer: object | None, settings: Mapping[str, Any]) -> Hashable | None:
        """Nothing else, unless the optimizer's line search would couple the members."""
        return None if is_lbfgs(optimizer) else ()

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """The loss as a problem in two factors, with their present values; None where it changes from step to step."""
        raise NotImplementedError

    def set_factors(self, left: Tensor, right: Tensor) -> None:
        """Take over factors in the form of :meth:`pair_problem`."""
        raise NotImplementedError

    def losses(self, step: int) -> Tensor:
        """Loss of each member at a step that an optimizer of ``torch.optim`` follows, shape ``(J,)``.

        It is half a squared error of unit weight, so that a learning rate means the same for every method.
        """
        raise NotImplementedError

    def descend(self, step: int) -> Tensor:
        """The losses of a step, with the gradient of their sum left in the parameters."""
        self.zero_grad()
        losses = self.losses(step)
        losses.sum().backward()
        return losses.detach()

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer of the config."""
        assert self.make_optimizer is not None
        if solver_class(self.make_optimizer) is not None:
            solver = self.make_optimizer(*self.fixed_problem(), tolerance=self.tolerance)
            assert isinstance(solver, PairSolver)
            return solver
        if is_lbfgs(self.make_optimizer) and self.stack > 1:
            raise ValueError(f"optimizer=lbfgs trains one target at a time. Found a stack of {self.stack}.")
        return self.make_optimizer(self.parameters())

    def fixed_problem(self) -> tuple[Objective, Tensor, Tensor]:
        """The pair problem, which solvers need to stay the same throughout."""
        problem = self.pair_problem()
        if problem is None:
            raise ValueError(
                "This optimizer needs probes that stay the same: method.probes=orthogonal or method.vectors=NUMBER. "
                "Found fresh ones at each step."
            )
        return problem

    def describe(self) -> str:
        """What a checkpoint must be of to be resumed."""
        ranks, count = ", ".join(map(str, self.ranks)), sum(parameter.numel() for parameter in self.parameters())
        made = getattr(self.make_optimizer, "func", self.make_optimizer)
        by = f" by {made.__name__}" if isinstance(made, type) else ""
        rows, cols = self.shape
        return f"{type(self).__name__}{by} on {rows}×{cols}, rank {ranks}, {count} trained parameters"

    def scheduled(self, step: int) -> Any:
        """The optimizer, with the learning rate of a step.

        Lightning's wrapper of it counts the steps and tells callbacks of them, which takes longer than a small step;
        it is used where a callback sees each step.
        """
        optimizer = self._optimizer()
        schedules.apply(self.schedule, optimizer, step / self.driver.max_steps)
        return optimizer if self.block_steps is None else self.optimizers()

    def _make_problem(self) -> Problem:
        optimizer = self._optimizer()
        if isinstance(optimizer, EntrywiseSGD) and self.schedule is None and self.block_steps is None:
            return PassesProblem(self, optimizer)
        return SolverProblem(self, optimizer) if isinstance(optimizer, PairSolver) else LossProblem(self)


def entries_to_choose_from(operator: Operator) -> Tensor:
    """The matrix that a rank is chosen from, shape ``(m, n)``: the rules look at entries.

    Raises:
        ValueError: If it is not stored entry by entry, and too large for its entries to be computed.
    """
    rows, cols = operator.shape
    if not isinstance(operator, Dense) and rows * cols > EXACT_ENTRIES:
        law = f"rank=auto needs the entries of the target, at most {EXACT_ENTRIES:,} where it gives images alone"
        raise ValueError(f"{law}. Found {rows * cols:,}.")
    return operator.dense()[0]
