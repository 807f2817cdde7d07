"""What the methods share that learn a stack of matrices: blocks of steps, measuring at a cadence, and when to stop."""

import itertools
import os
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from eckart.linalg.checks import require_count
from eckart.linalg.optimality import errors_of, optimum
from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import singular_values
from eckart.methods.optimizers import OptimizerFactory, is_lbfgs, restore_settings, solver_class
from eckart.methods.processes import Processes
from eckart.optim import schedules
from eckart.optim.objectives import Objective
from eckart.optim.schedules import Schedule
from eckart.optim.solver import PairSolver, stationarity

# Seconds of steps after which a block ends, so that the state of a long run is kept again and again.
_PATIENCE = 10.0


class MatrixMethod(LightningModule):
    """A method that learns rank-k approximations of J targets of one shape at once; a single run is a stack of one.

    Lightning is handed blocks of steps, not single ones: a block ends where the errors are measured next. A member
    of the stack stops by itself, when its certificate says that it is done or when its loss is no longer finite; it
    then keeps its last finite state while its neighbors go on.

    Args:
        target: Stack of targets, shape ``(J, m, n)``, float64; errors are measured against these.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.
        seeds: Seed of each member.
        optimizer: Makes the optimizer: of ``torch.optim`` from parameters, or a :class:`PairSolver`.
        schedule: Factor on the learning rate by the share of the steps that is done; None leaves it as it is.
        dtype: Type that is trained in.
        width: Rank that the factors are padded to with zeros, at least the largest of ``ranks``, which is the default.
            At equal width a member's numbers do not depend on its neighbors, bit for bit.
        max_steps: Steps at most.
        tolerance: A member is done when its gradient in the scaled metric is at most this fraction of its norm, or its
            excess over the optimum at most this in both norms. At least 16 eps of ``dtype``; 0 never stops.
        record_every: Steps between two measurements; None measures at each of the first steps and ever further apart.

    Raises:
        ValueError: If a rank does not fit the shape, a target is all zero, or a number is out of its range.

    Several processes can share the training. Steps on batches are then taken on each one's share of the batch; a
    :class:`PairSolver` does the same work in all of them. The first process decides when a member stops.
    """

    automatic_optimization = False
    precision = "64-true"
    knows_optimum = True
    """Whether training may look at the excess to see that it is done."""
    target: Tensor
    loss_unit: Tensor
    steps: Tensor
    active: Tensor
    diverged: Tensor

    def __init__(
        self,
        target: Tensor,
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
    ) -> None:
        super().__init__()
        for rank in ranks:
            check_rank(rank, target.shape[1:])
        self.width = max(ranks) if width is None else width
        if self.width < max(ranks):
            raise ValueError(f"The width of a stack must be at least its largest rank, {max(ranks)}. Found {width}.")
        require_count("method.max_steps", max_steps)
        if record_every is not None:
            require_count("method.record_every", record_every)
        if tolerance < 0:
            raise ValueError(f"method.tolerance must not be negative. Found {tolerance}.")
        self.reference, self.ranks, self.seeds = target, list(ranks), list(seeds)
        self.spectrum = singular_values(target)
        if not (self.spectrum[:, 0] > 0).all():
            raise ValueError("The target is all zeros, so relative errors are undefined. Found norm 0.")
        limit = 1e140 if dtype == torch.float64 else 1e15
        for largest in self.spectrum[:, 0].tolist():
            if not 1 / limit < largest < limit:
                law = f"The target's 2-norm must be between {1 / limit:.0e} and {limit:.0e}"
                raise ValueError(f"{law}, for squares of it to be numbers: see data.scale. Found {largest:.1e}.")
        self.optimum = optimum(self.spectrum, torch.tensor(self.ranks))
        # A gradient cannot be told from rounding below some eps.
        self.tolerance = max(tolerance, 16 * torch.finfo(dtype).eps) if tolerance > 0 else 0.0
        self.max_steps, self.record_every = max_steps, record_every
        self.make_optimizer, self.schedule = optimizer, schedule
        stack = len(target)
        self.register_buffer("target", target.to(dtype), persistent=False)
        self.register_buffer("loss_unit", torch.ones(stack, dtype=dtype), persistent=False)
        """What a squared residual of 1 stands for in the loss that is reported, shape ``(J,)``."""
        self.register_buffer("steps", torch.zeros(stack, dtype=torch.long))
        self.register_buffer("active", torch.ones(stack, dtype=torch.bool))
        self.register_buffer("diverged", torch.zeros(stack, dtype=torch.bool))
        self.loss = torch.full((stack,), torch.nan, dtype=torch.float64)
        self.stationarity = torch.full((stack,), torch.inf, dtype=torch.float64)
        self.step_count = 0
        self.interrupted = False
        """Whether the training is asked to end after the step it is at."""
        self.fit_seconds = 0.0
        self._resumed_tolerance = self.tolerance
        self.last_record: dict[str, Tensor] = {}
        self.processes = Processes()

    @classmethod
    def stack_key(cls, rank: int, optimizer: object | None, settings: Mapping[str, Any]) -> Hashable | None:
        """What else must be equal for jobs to be members of one stack.

        Their configs may differ in the rank, in the seed and in the content of the target, not in its shape.

        Args:
            rank: Rank of the job.
            optimizer: Class or factory of its optimizer.
            settings: Config of its method.

        Returns:
            A value that is the same for the members of a stack; None where the job must run alone.
        """
        return None if is_lbfgs(optimizer) else ()

    def factors(self) -> tuple[Tensor, Tensor]:
        """What the members stand for now: ``left (J, m, k)`` and ``right (J, k, n)``, zero beyond a member's rank."""
        raise NotImplementedError

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """The loss as a problem in two factors, with their present values; None where it changes from step to step."""
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

    def on_block_end(self) -> None:
        """Bring the model up to date with the factors that a :class:`PairSolver` trained."""

    def extra_errors(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """Further figures of the method, each of shape ``(J,)``."""
        return {}

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer of the config."""
        assert self.make_optimizer is not None
        if solver_class(self.make_optimizer) is not None:
            solver = self.make_optimizer(*self.fixed_problem(), tolerance=self.tolerance)
            assert isinstance(solver, PairSolver)
            solver.active = self.active
            return solver
        if is_lbfgs(self.make_optimizer) and len(self.ranks) > 1:
            raise ValueError(f"optimizer=lbfgs trains one target at a time. Found a stack of {len(self.ranks)}.")
        return self.make_optimizer(self.parameters())

    def train_dataloader(self) -> Iterable[int]:
        """Blocks of steps, as many as it takes."""
        return itertools.count()

    def setup(self, stage: str) -> None:
        """Learn who shares the training, before an optimizer is made."""
        self.processes = Processes(self.trainer.world_size, self.global_rank)

    def on_fit_start(self) -> None:
        """Measure on the device that is trained on, where it has float64."""
        # Lightning's way of looking for GPUs opens a library each time, and Adam looks at every step.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        if self.device.type != "mps":
            self.reference, self.spectrum = self.reference.to(self.device), self.spectrum.to(self.device)
            self.optimum = (self.optimum[0].to(self.device), self.optimum[1].to(self.device))

    def on_train_start(self) -> None:
        """Measure the state that training starts from; one that is resumed is held against the tolerance of now."""
        resumed = self.step_count > 0
        if resumed:
            if self._resumed_tolerance != self.tolerance:
                self.active.copy_(~self.diverged)
            restore_settings(self.optimizers(use_pl_optimizer=False))
        if not resumed or not self.active.any() or self.step_count == self._next_record(self.step_count - 1):
            self._record(self._measure_now())
        self._stop_when_done()

    def training_step(self, _: int) -> None:
        """Run steps up to where errors are measured next, and measure them there.

        A block that takes long, or that is asked to end, ends early and is not measured, so that its state can be
        kept; the next one goes on to the same place.
        """
        before = {name: parameter.detach().clone() for name, parameter in self.named_parameters()}
        frozen = ~self.active
        began = time.perf_counter()
        stop = self._next_record(self.step_count)
        for step in range(self.step_count, stop):
            loss = self._advance(step)
            if not self.active.any():
                break
            self.steps += self.active
            self.step_count = step + 1
            if self._must_pause(began):
                break
        whole = self.step_count == stop or not self.active.any()
        if whole:
            self.on_block_end()
        self._follow_first(loss)
        self.fit_seconds += time.perf_counter() - began
        errors = self._measure_now()
        if self._freeze(before, frozen, loss.cpu().double(), errors):
            errors = self._measure_now()
        if whole:
            self._record(errors, moved=~frozen)
        self._stop_when_done()

    def stop_reason(self, member: int) -> str:
        """Why a member stopped, in words for the terminal."""
        if self.diverged[member]:
            return f"diverged after {int(self.steps[member])} steps: its loss is no longer finite"
        if self.active[member]:
            return f"stopped at method.max_steps={self.max_steps}"
        if self.stationarity[member] <= self.tolerance or not self.knows_optimum:
            return f"converged: the gradient in the scaled metric is {float(self.stationarity[member]):.1e} of ‖A‖"
        return f"converged: the excess over the optimum is at most {self.tolerance:.0e} in both norms"

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
        rows, cols = self.reference.shape[1:]
        ranks, count = ", ".join(map(str, self.ranks)), sum(parameter.numel() for parameter in self.parameters())
        made = getattr(self.make_optimizer, "func", self.make_optimizer)
        by = f" by {made.__name__}" if isinstance(made, type) else ""
        return f"{type(self).__name__}{by} on {rows}×{cols}, rank {ranks}, {count} trained parameters"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model."""
        checkpoint["eckart"] = {
            "of": self.describe(),
            "step_count": self.step_count,
            "fit_seconds": self.fit_seconds,
            "tolerance": self.tolerance,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the checkpoint stopped."""
        self.step_count = checkpoint["eckart"]["step_count"]
        self.fit_seconds = checkpoint["eckart"]["fit_seconds"]
        self._resumed_tolerance = checkpoint["eckart"]["tolerance"]

    def measure(self, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Errors and excess of every member, each of shape ``(J,)``, float64.

        Args:
            tolerance: Relative accuracy of the 2-norm where the target is so large that it is iterated.
        """
        left, right = (factor.detach().to(self.reference.device).double() for factor in self.factors())
        errors = errors_of(self.reference, left, right, self.spectrum, self.optimum, tolerance=tolerance)
        return errors | self.extra_errors(left, right)

    def _next_record(self, step: int) -> int:
        # A tenth of the steps so far: a record a step at first, then some 25 for each tenfold. Counted from the start,
        # so that a run which was interrupted measures, and stops, where it would have otherwise.
        if self.record_every is not None:
            return min((step // self.record_every + 1) * self.record_every, self.max_steps)
        place = 0
        while place <= step:
            place += max(1, place // 10)
        return min(place, self.max_steps)

    def _must_pause(self, began: float) -> bool:
        # Processes that share a training have to take the same steps.
        return self.processes.count == 1 and (self.interrupted or time.perf_counter() - began > _PATIENCE)

    def _stop_when_done(self) -> None:
        if not self.active.any() or self.step_count >= self.max_steps:
            self.trainer.should_stop = True

    def _advance(self, step: int) -> Tensor:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        schedules.apply(self.schedule, optimizer, step / self.max_steps)
        if isinstance(optimizer, PairSolver):
            return self.loss_unit * optimizer.step()
        losses = self.loss_unit

        def closure() -> float:
            nonlocal losses
            losses = self.descend(step)
            return losses.sum()  # type: ignore[return-value]

        optimizer.step(closure)
        return 2 * self.loss_unit * losses

    @torch.no_grad()
    def _freeze(self, before: dict[str, Tensor], frozen: Tensor, loss: Tensor, errors: dict[str, Tensor]) -> bool:
        """Put members back that stood still or diverged in this block; whether any diverged."""
        # Parameters can be finite and their product not.
        finite = (loss.isfinite() & errors["relative_2norm"].cpu().isfinite()).to(frozen.device)
        for parameter in self.parameters():
            finite &= parameter.flatten(1).isfinite().all(1)
        lost = ~finite & ~frozen
        self.diverged |= lost
        self.active &= ~lost
        keep = frozen | lost
        self.loss = torch.where(keep.cpu(), self.loss, loss)
        if keep.any():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.where(keep.view(-1, *[1] * (parameter.ndim - 1)), before[name], parameter))
        return bool(lost.any())

    def _certified(self, figure: Tensor) -> Tensor:
        # Without a tolerance nothing is good enough, not even an excess that rounding makes negative.
        return ((figure <= self.tolerance) & (self.tolerance > 0)).to(self.active.device)

    def _follow_first(self, loss: Tensor) -> None:
        # Processes that differed in a last bit could part: some would stop, and the others wait for them forever.
        count = torch.tensor(self.step_count, device=loss.device)
        self.processes.follow_first([loss, count, *self.state_dict().values()])
        self.step_count = int(count)

    def _measure_now(self) -> dict[str, Tensor]:
        errors = self.measure(tolerance=max(self.tolerance / 10, 1e-12))
        self.processes.follow_first(errors.values())
        return errors

    def _certify(self, errors: dict[str, Tensor]) -> None:
        problem = self.pair_problem()
        if problem is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            damping = optimizer.defaults.get("damping", 1e-6) if isinstance(optimizer, PairSolver) else 1e-6
            found = stationarity(*problem, damping=damping)
            self.processes.follow_first([found])
            self.stationarity = found.cpu().double()
            self.active &= ~self._certified(self.stationarity)
        if self.knows_optimum:
            excess = torch.maximum(errors["excess_2norm"], errors["excess_frobenius"])
            self.active &= ~self._certified(excess)

    def _record(self, errors: dict[str, Tensor], moved: Tensor | None = None) -> None:
        self._certify(errors)
        optimizer = self.optimizers(use_pl_optimizer=False)
        if isinstance(optimizer, PairSolver):
            loss = self.loss_unit * optimizer.squared_residual()
            self.loss = torch.where(loss.isfinite(), loss, self.loss.to(loss)).cpu().double()
        elif self.make_optimizer is not None:
            with torch.no_grad():
                self.loss = (2 * self.loss_unit * self.losses(self.step_count)).cpu().double()
        self.last_record = {"train/loss": self.loss, **errors}
        shown = {"step": self.steps, "moved": torch.ones_like(self.active) if moved is None else moved}
        for logger in self.loggers:
            logger.log_metrics(self.last_record | shown, step=self.step_count)  # type: ignore[arg-type]
