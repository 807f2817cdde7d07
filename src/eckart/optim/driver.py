"""The driver of every training: step, certify, freeze what stands still or diverged, leave saddles, stop, record."""

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_count

# Steps after which a member that has not converged is moved along its leading residual directions.
_SLOW = 100
# Devices whose members are looked at after each step for whether any is left; others every so many steps.
_WATCHED = ("cpu",)
_LOOK = 16


class Problem(Protocol):
    """What the driver trains: a stack of J members, each with parameters of its own."""

    def advance(self, step: int, active: Tensor) -> Tensor | None:
        """Train the active members by one step; the loss of each before it, shape ``(J,)``; None if it is not known."""

    def tensors(self) -> list[Tensor]:
        """Everything that a step changes, each of shape ``(J, …)``; changed in place."""

    def loss(self, step: int) -> Tensor:
        """Loss of each member now, shape ``(J,)``."""

    def size(self) -> Tensor:
        """Bound on the norm of each member's product, shape ``(J,)``: its square has to be a number."""

    def certificate(self) -> Tensor | None:
        """Norm of the gradient in the scaled metric, relative, shape ``(J,)``; None where there is none."""

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        """Move members that rest at a saddle; which of them moved."""


class BlockProblem(Problem, Protocol):
    """A problem that takes many steps in one call, which costs less than as many calls."""

    def advance_to(self, step: int, stop: int, active: Tensor) -> tuple[int, Tensor]:
        """Train the active members from a step towards ``stop``, for a tenth of a second or so.

        Returns:
            The step that was reached, and the loss of each member before the last step, shape ``(J,)``.
        """


class Driver(nn.Module):
    """Runs a problem in blocks of steps, up to where it is to be recorded.

    A member of the stack stops by itself: when its gradient in the scaled metric is small and its problem cannot move
    it off a saddle, or when its loss is no longer finite. It then keeps its last finite state while its neighbors
    continue.

    Args:
        stack: Number of members J.
        max_steps: Steps at most.
        tolerance: A member has converged when its gradient in the scaled metric is at most this; 0 never stops.
        record_every: Steps between two records; None records each of the first steps and ever further apart.

    Attributes:
        steps: Steps of each member, shape ``(J,)``.
        active: Members that are still trained, shape ``(J,)``.
        diverged: Members whose loss is no longer finite, shape ``(J,)``.
        loss: Last recorded loss of each member, float64.
        stationarity: Last gradient in the scaled metric of each member, float64; infinite where it is not known.
        step_count: Steps taken by the stack.
        seconds: Time that the steps took.
    """

    steps: Tensor
    active: Tensor
    diverged: Tensor
    checked: Tensor
    recorded: Tensor

    def __init__(self, stack: int, *, max_steps: int, tolerance: float = 0.0, record_every: int | None = None) -> None:
        super().__init__()
        require_count("max_steps", max_steps)
        if record_every is not None:
            require_count("record_every", record_every)
        if not tolerance >= 0:
            raise ValueError(f"tolerance must not be negative. Found {tolerance}.")
        self.max_steps, self.tolerance, self.record_every = max_steps, tolerance, record_every
        self.register_buffer("steps", torch.zeros(stack, dtype=torch.long))
        self.register_buffer("active", torch.ones(stack, dtype=torch.bool))
        self.register_buffer("diverged", torch.zeros(stack, dtype=torch.bool))
        # Step at which a member was last held against a saddle, or moved along its residual.
        self.register_buffer("checked", torch.zeros(stack, dtype=torch.long))
        # Steps of a member at its last record.
        self.register_buffer("recorded", torch.full((stack,), -1, dtype=torch.long))
        self.loss = torch.full((stack,), torch.nan, dtype=torch.float64)
        self.stationarity = torch.full((stack,), torch.inf, dtype=torch.float64)
        self.step_count, self.seconds = 0, 0.0

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return not bool(self.active.any()) or self.step_count >= self.max_steps

    def next_record(self, step: int) -> int:
        """Step of the first record after a step.

        Counted from the start, so that a training that was interrupted records, and stops, where it would have
        otherwise: a record a step at first, then some 25 for each tenfold.

        Example:
            >>> driver = Driver(1, max_steps=100)
            >>> [driver.next_record(step) for step in (0, 5, 20, 99)]
            [1, 6, 22, 100]
        """
        if self.record_every is not None:
            return min((step // self.record_every + 1) * self.record_every, self.max_steps)
        place = 0
        while place <= step:
            place += max(1, place // 10)
        return min(place, self.max_steps)

    def block(self, problem: Problem, *, stop: int | None = None, pauses: Callable[[], bool] = lambda: False) -> bool:
        """Train up to the next record.

        Args:
            problem: What is trained.
            stop: Step at which the block ends; None ends it at the next record.
            pauses: Whether the block is to end early.

        Returns:
            Whether the block came to its end, so that it can be recorded.
        """
        before = [part.detach().clone() for part in problem.tensors()]
        frozen, began = ~self.active, time.perf_counter()
        place = self.next_record(self.step_count)
        stop = place if stop is None else min(stop, place)
        loss: Tensor | None = None
        # Asking a protocol whether this is one takes longer than a small step.
        many = getattr(problem, "advance_to", None)
        watched = self.active.device.type in _WATCHED
        while self.step_count < stop:
            reached = self.step_count + 1
            if many is not None:
                reached, loss = many(self.step_count, stop, self.active)
            else:
                loss = problem.advance(self.step_count, self.active)
            # Of a device other than the CPU, looking means to wait until it has done all that it was asked.
            if (watched or reached % _LOOK == 0) and not self.active.any():
                break
            self.steps.add_(self.active * (reached - self.step_count))
            self.step_count = reached
            if pauses():
                break
        self._freeze(problem, before, frozen, loss)
        self.seconds += time.perf_counter() - began
        return self.step_count == place or not bool(self.active.any())

    def record(self, problem: Problem) -> None:
        """Take the loss and the certificate, stop members that have converged, and move those that rest at a saddle."""
        began = time.perf_counter()
        self._certify(problem)
        with torch.no_grad():
            loss = problem.loss(self.step_count).cpu().double()
        self.loss = torch.where(loss.isfinite(), loss, self.loss)
        self.seconds += time.perf_counter() - began

    def stop(self, members: Tensor) -> None:
        """Stop members from outside, such as by a measure that training does not know."""
        self.active.logical_and_(~members.to(self.active.device))

    def reason(self, member: int) -> str:
        """Why a member stopped, in words."""
        if self.diverged[member]:
            return f"diverged after {int(self.steps[member])} steps: its loss is no longer finite"
        if self.active[member]:
            return f"stopped at max_steps={self.max_steps}"
        gradient = f"the gradient in the scaled metric is {float(self.stationarity[member]):.1e}, relative"
        if self.stationarity[member] > self.tolerance:
            return f"at rest: the solver has nothing further to try; {gradient}"
        return f"converged: {gradient}"

    def _certify(self, problem: Problem) -> None:
        found = problem.certificate()
        if found is None:
            return
        self.stationarity = found.cpu().double()
        if self.tolerance == 0:
            return
        resting = (found <= self.tolerance).to(self.active.device) & ~self.diverged
        slow = self.active & ~resting & (self.steps - self.checked >= _SLOW)
        # A member that was stopped inside the block rests; one that rests twice in the same place stays.
        candidates = resting & ((self.checked != self.steps) | self.active)
        self.active.logical_and_(~resting)
        moved = problem.leave_saddles(candidates, always=False) | problem.leave_saddles(slow, always=True)
        self.checked.copy_(torch.where(candidates | slow, self.steps, self.checked))
        self.active.logical_or_(moved)

    @torch.no_grad()
    def _freeze(self, problem: Problem, before: list[Tensor], frozen: Tensor, loss: Tensor | None) -> None:
        # Parameters can be finite and their product not.
        finite = problem.size().square().isfinite().to(frozen.device)
        if loss is not None:
            finite &= loss.isfinite().to(frozen.device)
        for part in problem.tensors():
            finite &= part.flatten(1).isfinite().all(1)
        lost = ~finite & ~frozen
        self.diverged.logical_or_(lost)
        self.active.logical_and_(~lost)
        keep = frozen | lost
        if loss is not None:
            self.loss = torch.where(keep.cpu(), self.loss, loss.detach().cpu().double())
        if keep.any():
            for old, part in zip(before, problem.tensors(), strict=True):
                part.copy_(torch.where(keep.view(-1, *[1] * (part.ndim - 1)), old, part))
