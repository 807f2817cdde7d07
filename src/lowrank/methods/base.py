"""What the methods share that learn a stack of matrices: blocks of steps, measuring at a cadence, and when to stop."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import LBFGS, Optimizer
from torch.utils.data import DataLoader, IterableDataset

from lowrank import schedules
from lowrank.checks import require_count
from lowrank.krylov import residual_norms
from lowrank.linalg import check_rank, singular_values
from lowrank.metrics import optimum
from lowrank.objectives import Objective
from lowrank.optim import PairSolver, stationarity
from lowrank.schedules import Schedule

OptimizerFactory = Callable[..., Optimizer]


class MatrixMethod(LightningModule):
    """A method that learns rank-k approximations of J targets of one shape at once; a single run is a stack of one.

    Lightning is handed blocks of steps, not single ones: a block ends where the errors are measured. A member of the
    stack stops by itself, when its certificate says that it is done or when its loss is no longer finite; it then
    keeps its last finite state while its neighbors go on.

    Args:
        target: Stack of targets, shape ``(J, m, n)``, float64; errors are measured against these.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.
        seeds: Seed of each member.
        optimizer: Makes the optimizer: of ``torch.optim`` from parameters, or a :class:`PairSolver`.
        schedule: Factor on the learning rate by the share of the steps that is done; None leaves it as it is.
        dtype: Type that is trained in.
        max_steps: Steps at most.
        tolerance: A member is done when its gradient in the scaled metric is at most this fraction of its norm, or its
            excess over the optimum at most this in both norms. At least 16 eps of ``dtype``; 0 never stops.
        record_every: Steps between two measurements; None measures at each of the first steps and ever further apart.

    Raises:
        ValueError: If a rank does not fit the shape, a target is all zero, or a number is out of its range.
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
        max_steps: int = 1,
        tolerance: float = 0.0,
        record_every: int | None = None,
    ) -> None:
        super().__init__()
        for rank in ranks:
            check_rank(rank, target.shape[1:])
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
        self.fit_seconds = 0.0
        self.last_record: dict[str, Tensor] = {}

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
        if issubclass(getattr(self.make_optimizer, "func", Optimizer), LBFGS) and len(self.ranks) > 1:
            raise ValueError(f"optimizer=lbfgs trains one target at a time. Found a stack of {len(self.ranks)}.")
        return self.make_optimizer(self.parameters())

    def train_dataloader(self) -> DataLoader[tuple[int, int]]:
        """Blocks of steps from the one reached to the last, each ending where errors are measured."""
        return DataLoader(_Blocks(self.step_count, self.max_steps, self.record_every), batch_size=None)

    def on_fit_start(self) -> None:
        """Measure on the device that is trained on, where it has float64."""
        if self.device.type != "mps":
            self.reference, self.spectrum = self.reference.to(self.device), self.spectrum.to(self.device)
            self.optimum = (self.optimum[0].to(self.device), self.optimum[1].to(self.device))

    def on_train_start(self) -> None:
        """Measure the state that training starts from; one that is resumed is held against the tolerance of now."""
        if self.step_count > 0:
            self.active.copy_(~self.diverged)
            restore_settings(self.optimizers(use_pl_optimizer=False))
        self._record(self._measure_now())

    def training_step(self, block: tuple[int, int]) -> None:
        """Run one block of optimizer steps and measure what it reached."""
        if not self.active.any():
            self.trainer.should_stop = True
            return
        before = {name: parameter.detach().clone() for name, parameter in self.named_parameters()}
        frozen = ~self.active
        began = time.perf_counter()
        for step in range(*block):
            loss = self._advance(step)
            if not self.active.any():
                break
            self.steps += self.active
            self.step_count = step + 1
        self.on_block_end()
        self.fit_seconds += time.perf_counter() - began
        errors = self._measure_now()
        if self._freeze(before, frozen, loss.cpu().double(), errors):
            errors = self._measure_now()
        self._record(errors)
        if not self.active.any() or self.step_count >= self.max_steps:
            self.trainer.should_stop = True

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
        checkpoint["lowrank"] = {
            "of": self.describe(),
            "step_count": self.step_count,
            "fit_seconds": self.fit_seconds,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the checkpoint stopped."""
        self.step_count = checkpoint["lowrank"]["step_count"]
        self.fit_seconds = checkpoint["lowrank"]["fit_seconds"]

    def measure(self, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Errors and excess of every member, each of shape ``(J,)``, float64.

        Args:
            tolerance: Relative accuracy of the 2-norm where the target is so large that it is iterated.
        """
        left, right = (factor.detach().to(self.reference.device).double() for factor in self.factors())
        two_norm, frobenius = residual_norms(self.reference, left, right, tolerance=tolerance)
        errors = {
            "relative_2norm": two_norm / self.spectrum[:, 0],
            "relative_frobenius": frobenius / torch.linalg.vector_norm(self.spectrum, dim=1),
        }
        errors["excess_2norm"] = errors["relative_2norm"] - self.optimum[0]
        errors["excess_frobenius"] = errors["relative_frobenius"] - self.optimum[1]
        return errors | self.extra_errors(left, right)

    def _advance(self, step: int) -> Tensor:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        schedules.apply(self.schedule, optimizer, step / self.max_steps)
        if isinstance(optimizer, PairSolver):
            return self.loss_unit * optimizer.step()
        losses = self.loss_unit

        def closure() -> float:
            nonlocal losses
            optimizer.zero_grad()
            losses = self.losses(step)
            losses.sum().backward()
            return losses.detach().sum()  # type: ignore[return-value]

        optimizer.step(closure)
        return 2 * self.loss_unit * losses.detach()

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

    def _measure_now(self) -> dict[str, Tensor]:
        return self.measure(tolerance=max(self.tolerance / 10, 1e-12))

    def _certify(self, errors: dict[str, Tensor]) -> None:
        problem = self.pair_problem()
        if problem is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            damping = optimizer.defaults.get("damping", 1e-6) if isinstance(optimizer, PairSolver) else 1e-6
            self.stationarity = stationarity(*problem, damping=damping).cpu().double()
            self.active &= ~self._certified(self.stationarity)
        if self.knows_optimum:
            excess = torch.maximum(errors["excess_2norm"], errors["excess_frobenius"])
            self.active &= ~self._certified(excess)

    def _record(self, errors: dict[str, Tensor]) -> None:
        self._certify(errors)
        optimizer = self.optimizers(use_pl_optimizer=False)
        if isinstance(optimizer, PairSolver):
            loss = self.loss_unit * optimizer.squared_residual()
            self.loss = torch.where(loss.isfinite(), loss, self.loss.to(loss)).cpu().double()
        elif self.make_optimizer is not None:
            with torch.no_grad():
                self.loss = (2 * self.loss_unit * self.losses(self.step_count)).cpu().double()
        self.last_record = {"train/loss": self.loss, **errors}
        for logger in self.loggers:
            logger.log_metrics(self.last_record, step=self.step_count)  # type: ignore[arg-type]


def restore_settings(optimizer: object) -> None:
    """Give an optimizer that was resumed the settings of this run's config, and not those of the checkpoint."""
    if isinstance(optimizer, Optimizer):
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)
            group.update({name: value for name, value in optimizer.defaults.items() if name in group})


def solver_class(factory: OptimizerFactory | None) -> type[PairSolver] | None:
    """The kind of :class:`PairSolver` that a factory makes; None for an optimizer of ``torch.optim``."""
    made = getattr(factory, "func", factory)
    return made if isinstance(made, type) and issubclass(made, PairSolver) else None


class _Blocks(IterableDataset[tuple[int, int]]):
    def __init__(self, start: int, stop: int, every: int | None) -> None:
        self.start, self.stop, self.every = start, stop, every

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the blocks that are left."""
        start = self.start
        while start < self.stop:
            # A tenth of the steps so far: a record a step at first, then some 25 for each tenfold.
            stop = min(self.stop, start + (self.every or max(1, start // 10)))
            yield start, stop
            start = stop
