"""Methods that the driver trains: blocks of steps, conducted by Lightning or without it."""

import itertools
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.checks import require_one_of
from eckart.methods.method import Method
from eckart.methods.optimizers import restore_settings
from eckart.optim.driver import Driver, Problem

# Seconds of steps after which a block ends, so that the state of a long run is kept again and again.
_PATIENCE = 10.0
# Steps after which a step takes what all further ones take.
_SETTLED = 16


class DrivenMethod(Method):
    """A method whose steps are taken by the driver.

    Lightning is handed blocks of steps, not single ones: a block ends where the run records next. A member of the
    stack stops by itself, when its certificate says that it is done or when its loss is no longer finite; it then
    keeps its last finite state while its neighbors continue.

    Args:
        stack: Number of members J.
        ranks: Rank of each member.
        seeds: Seed of each member.
        max_steps: Steps at most.
        tolerance: What the certificate is held against; 0 never stops.
        record_every: Steps between two records; None records each of the first steps and ever further apart.
        stop: ``gradient``; ``excess`` lets the run stop a member also when its excess over the optimum, which training
            does not know, is at most ``tolerance`` in both norms.

    Raises:
        ValueError: If a number is out of its range.
    """

    automatic_optimization = False
    # The optimizer is kept by Lightning's trainer, or here where there is none.
    _alone = False
    _own_optimizer: Any = None

    def __init__(
        self,
        stack: int,
        ranks: Sequence[int],
        seeds: Sequence[int],
        *,
        max_steps: int,
        tolerance: float,
        record_every: int | None,
        stop: str,
    ) -> None:
        super().__init__(ranks, seeds)
        require_one_of("stop", stop, ("gradient", "excess"))
        self.stack, self.stop, self.tolerance = stack, stop, tolerance
        self.driver = Driver(stack, max_steps=max_steps, tolerance=tolerance, record_every=record_every)
        self._resumed_tolerance = tolerance
        self._record: dict[str, Any] | None = None
        self._problem: Problem | None = None

    @abstractmethod
    def _make_problem(self) -> Problem:
        """What the driver trains."""

    def on_block_end(self) -> None:
        """Bring the layers up to date with the factors that a :class:`PairSolver` trained.

        Called after each block where a trainer conducts, whose callbacks can look at the layers, and else at the end.
        """

    def go_on(self) -> None:
        """Called after each record: may give members that have come to rest something further to train."""

    def own_figures(self) -> dict[str, Tensor]:
        """Further figures that follow from what training sees, each of shape ``(J,)``."""
        return {}

    def train_dataloader(self) -> Iterable[int]:
        """Blocks of steps, as many as it takes."""
        return itertools.count()

    def on_fit_start(self) -> None:
        """Keep a look-up out of the step loop."""
        # Lightning's way of looking for GPUs opens a library each time, and Adam looks at every step.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"

    def on_train_start(self) -> None:
        """Record the state that training starts from; one that is resumed is held against the tolerance of now."""
        driver = self.driver
        resumed = driver.step_count > 0
        if resumed:
            if self._resumed_tolerance != self.tolerance:
                driver.active.copy_(~driver.diverged)
            restore_settings(self._optimizer())
        self._problem = self._make_problem()
        if not resumed or not driver.active.any() or driver.step_count == driver.next_record(driver.step_count - 1):
            driver.recorded.fill_(-1)
            self._take_record(resumed=resumed)
        self._stop_when_done()

    def training_step(self, _: int) -> None:
        """Run steps up to the next record.

        A block that takes long, or that is asked to end, ends early and is not recorded, so that its state can be
        kept; the next one continues to the same place.
        """
        assert self._problem is not None
        driver, began = self.driver, time.perf_counter()
        stop = None if self.block_steps is None else driver.step_count + self.block_steps
        whole = driver.block(self._problem, stop=stop, pauses=lambda: self._must_pause(began))
        self._follow_first()
        if whole:
            self._take_record()
        self._stop_when_done()

    def learn(self, on_record: Callable[[], None] = lambda: None) -> None:
        """Train to the end in this process, without Lightning's trainer; a method learns once.

        The steps, the records and the numbers are those of a trainer on the CPU, to the last bit.

        Args:
            on_record: Called at the start and after each block of steps: :meth:`record` may have new figures.
        """
        self._alone = True
        self._own_optimizer = self.configure_optimizers()
        self.on_fit_start()
        self.on_train_start()
        on_record()
        while not self.driver.done:
            self.training_step(0)
            on_record()
        self.on_block_end()

    def seconds_per_step(self, least: float) -> float:
        """Time that a step takes, of a method that is made to be measured, and not to learn.

        Args:
            least: Seconds that are measured at least, unless the training ends before.
        """
        self._alone = True
        self._own_optimizer = self.configure_optimizers()
        self.on_fit_start()
        self.on_train_start()
        assert self._problem is not None
        driver, seconds, steps = self.driver, 0.0, 1
        # Each run of steps is twice as long as all before it, and the last one counts: the first steps of a solver can
        # be others than the rest, and prepare what these use.
        while not driver.done and (seconds < least or steps < _SETTLED):
            before, began = driver.step_count, time.perf_counter()
            stop = min(2 * before + 1, driver.max_steps)
            while driver.step_count < stop and driver.active.any():
                driver.block(self._problem, stop=stop)
            seconds, steps = time.perf_counter() - began, max(1, driver.step_count - before)
        return seconds / steps

    def record(self) -> dict[str, Any] | None:
        """Loss and own figures of the last record, once."""
        found, self._record = self._record, None
        return found

    def stop_members(self, members: Tensor) -> None:
        """Stop members by a measure that training does not know; the first process decides for all."""
        self.driver.stop(members)
        self.processes.follow_first([self.driver.active])
        self._stop_when_done()

    def fields(self, member: int) -> dict[str, Any]:
        """Status, why it stopped, loss, steps and own figures of a member."""
        driver = self.driver
        diverged, reason = bool(driver.diverged[member]), self.stop_reason(member)
        return {
            "status": "diverged" if diverged else "completed",
            "error": reason if diverged else None,
            "stop_reason": reason,
            "loss": float(driver.loss[member]),
            "steps": int(driver.steps[member]),
            **{name: float(values[member]) for name, values in self.own_figures().items()},
        }

    def stop_reason(self, member: int) -> str:
        """Why a member stopped, in words for the terminal."""
        driver = self.driver
        if driver.active[member] and driver.step_count < driver.max_steps:
            return f"stopped by a callback after {driver.step_count} of method.max_steps={driver.max_steps}"
        if driver.active[member]:
            return f"stopped at method.max_steps={driver.max_steps}"
        if driver.diverged[member] or driver.stationarity[member] <= self.tolerance or self.stop == "gradient":
            return driver.reason(member)
        return f"stopped by method.stop=excess: it is at most {self.tolerance:.0e} in both norms"

    def progress(self) -> tuple[int, int]:
        """Steps done and ``max_steps``."""
        return self.driver.step_count, self.driver.max_steps

    def left_to_do(self, checkpoint: Mapping[str, Any]) -> tuple[str, int, int]:
        """``max_steps``, and the steps of a checkpoint."""
        return "method.max_steps", self.driver.max_steps, checkpoint["step_count"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model."""
        checkpoint["eckart"] = {
            "of": self.describe(),
            "step_count": self.driver.step_count,
            "fit_seconds": self.fit_seconds,
            "tolerance": self.tolerance,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue to count where the checkpoint stopped."""
        self.driver.step_count = checkpoint["eckart"]["step_count"]
        self.fit_seconds = checkpoint["eckart"]["fit_seconds"]
        self.driver.seconds = self.fit_seconds
        self._resumed_tolerance = checkpoint["eckart"]["tolerance"]

    def _optimizer(self) -> Any:
        return self._own_optimizer if self._alone else self.optimizers(use_pl_optimizer=False)

    def _must_pause(self, began: float) -> bool:
        # Processes that share a training have to take the same steps.
        return self.processes.count == 1 and (self.interrupted or time.perf_counter() - began > _PATIENCE)

    def _stop_when_done(self) -> None:
        if self.driver.done and not self._alone:
            self.trainer.should_stop = True

    def _take_record(self, *, resumed: bool = False) -> None:
        assert self._problem is not None
        driver = self.driver
        driver.record(self._problem)
        self.processes.follow_first([driver.active])
        if not resumed:
            # A resumed model is up to date, and its last bits can depend on how often it was updated.
            if not self._alone:
                self.on_block_end()
            self.go_on()
        # A block can end early, so members that stopped in an earlier part of it count as well.
        moved = driver.steps != driver.recorded
        driver.recorded.copy_(driver.steps)
        self.fit_seconds = driver.seconds
        self._record = {"train/loss": driver.loss, **self.own_figures(), "step": driver.steps, "moved": moved}

    def _follow_first(self) -> None:
        # Processes that differed in a last bit could part: some would stop, and the others wait for them forever.
        if self.processes.count == 1:
            return
        count = torch.tensor(self.driver.step_count, device=self.device)
        self.processes.follow_first([count, *self.state_dict().values()])
        self.driver.step_count = int(count)
