"""Loggers of a stack: each member's metrics go to its own history and its own trackers."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from eckart.errors import one_line
from eckart.results.history import History


class Tracker(Protocol):
    """A run of one member as an experiment tracker keeps it: W&B, TensorBoard, MLflow."""

    @property
    def name(self) -> str:
        """What a warning calls it."""

    @property
    def experiment(self) -> Any:
        """The tracker's own object, for callbacks."""

    def begin(self) -> None:
        """Take what is known before the first metric: the config, the axes."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step."""

    def save(self) -> None:
        """Write what was logged."""

    def finish(self, result: Mapping[str, Any], drawn: Sequence[Path]) -> str | None:
        """End with a result and figures; return where W&B keeps the run, None for any other tracker."""

    def fail(self) -> None:
        """End as failed, without a result."""

    def discard(self) -> None:
        """Forget the run, which will be tried again."""


class StackLogger(Logger):
    """Gives each member of a stack its own metrics.

    Args:
        histories: One for each member.
        trackers: Trackers of each member. The lists may be filled later. A tracker that fails is taken out, with a
            warning: the training goes on without it.
        floors: What the trackers of each member receive beside its errors, and its history does not: the optimum.

    The metrics of a single member are also put into the trainer's ``callback_metrics``, where callbacks such as
    ``EarlyStopping`` look for them.
    """

    def __init__(
        self,
        histories: Sequence[History],
        trackers: Sequence[list[Tracker]] | None = None,
        floors: Sequence[Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.histories = histories
        self.trackers: Sequence[list[Tracker]] = [[] for _ in histories] if trackers is None else trackers
        self._floors = [{} for _ in histories] if floors is None else floors
        self._trainer: Trainer | None = None
        self._said: set[str] = set()

    @property
    def name(self) -> str:
        """Name that Lightning shows."""
        return "eckart"

    @property
    def version(self) -> str:
        """Empty, since each run has a folder of its own."""
        return ""

    @property
    def experiment(self) -> Any:
        """Object of the first tracker of a single run, for callbacks that log pictures or text; else None."""
        own = self.trackers[0] if len(self.trackers) == 1 else []
        return own[0].experiment if own else None

    def begin(self, trainer: Trainer) -> None:
        """Start to log; trackers receive what the histories have kept of an earlier run that is resumed.

        Args:
            trainer: The trainer of the stack.
        """
        self._trainer = trainer if len(self.histories) == 1 else None
        self._each(range(len(self.histories)), lambda tracker: tracker.begin())
        for member, history in enumerate(self.histories):
            for row in history.rows:
                self._track(member, {name: value for name, value in row.items() if name != "step"}, int(row["step"]))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the hyperparameters of a member are its config."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log metrics.

        Args:
            metrics: Tensors of shape ``(J,)``, one value for each member, or numbers that hold for all members. Two
                names are special: ``step`` is the step of each member, and ``moved`` says which members have new
                values; the others log nothing.
            step: Step of all members, if ``metrics`` has no ``step``.
        """
        columns = {name: _values(value, len(self.histories)) for name, value in metrics.items() if value is not None}
        steps = columns.pop("step", [step or 0] * len(self.histories))
        moved = columns.pop("moved", [True] * len(self.histories))
        for member, history in enumerate(self.histories):
            if not moved[member]:
                continue
            row = {name: values[member] for name, values in columns.items()}
            if history.add(int(steps[member]), row):
                self._track(member, row, int(steps[member]))
            if self._trainer is not None:
                self._trainer.callback_metrics.update({name: torch.tensor(value) for name, value in row.items()})

    def save(self) -> None:
        """Have the trackers write what they hold."""
        self._each(range(len(self.histories)), lambda tracker: tracker.save())

    def _track(self, member: int, row: Mapping[str, float], step: int) -> None:
        if not self.trackers[member]:
            return
        floor = self._floors[member] if "relative_frobenius" in row else {}
        # What is not known, such as the loss of a method before its only step, would make the least value unknown.
        whole = {name: value for name, value in {**row, **floor}.items() if not math.isnan(value)}
        self._each([member], lambda tracker: tracker.log(whole, step))

    def _each(self, members: Iterable[int], action: Callable[[Tracker], None]) -> None:
        for own in (self.trackers[member] for member in members):
            for tracker in list(own):
                try:
                    action(tracker)
                except Exception as error:
                    own.remove(tracker)
                    say_once(f"the training goes on without {tracker.name}: {one_line(error)}", self._said)


def say_once(line: str, said: set[str]) -> None:
    """Warn, if the line is not among those that were said: many members can lose the same tracker.

    Args:
        line: The warning.
        said: What was said, to which the line is added.
    """
    if line not in said:
        said.add(line)
        warnings.warn(line, stacklevel=2)


def _values(value: Any, stack: int) -> list[float]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.tolist()
    return [float(value)] * stack
