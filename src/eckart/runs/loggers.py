"""Loggers of a stack: each member's metrics go to its own history, W&B run and Lightning loggers."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from wandb import Run

from eckart.results.history import History


class StackLogger(Logger):
    """Hands each member of a stack its own figures.

    Args:
        histories: One for each member.
        runs: W&B run of each member, or None.
    """

    def __init__(self, histories: Sequence[History], runs: Sequence[Run | None]) -> None:
        super().__init__()
        self.histories, self.runs = histories, runs

    @property
    def name(self) -> str:
        """Name that Lightning shows."""
        return "eckart"

    @property
    def version(self) -> str:
        """A run's folder tells one from another."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run logs the whole config itself."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log figures: tensors of shape ``(J,)`` hold one for each member, numbers are every member's.

        Two of them say what the others are of: ``step``, the steps of each member, and ``moved``, which members have a
        figure to log.
        """
        columns = {name: _values(value, len(self.histories)) for name, value in metrics.items() if value is not None}
        steps = columns.pop("step", [step or 0] * len(self.histories))
        moved = columns.pop("moved", [True] * len(self.histories))
        for member, (history, run) in enumerate(zip(self.histories, self.runs, strict=True)):
            if not moved[member]:
                continue
            row = {name: values[member] for name, values in columns.items()}
            history.add(int(steps[member]), row)
            if run is not None:
                run.log(row, step=int(steps[member]))


def _values(value: Any, stack: int) -> list[float]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.tolist()
    return [float(value)] * stack
