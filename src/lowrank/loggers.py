"""How Lightning's figures of a stack reach the history and the W&B run of each member."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from wandb import Run

from lowrank.results import History


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
        return "lowrank"

    @property
    def version(self) -> str:
        """A run's folder tells one from another."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run logs the whole config itself."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log figures: tensors of shape ``(J,)`` hold one for each member, numbers are every member's."""
        columns = {name: _values(value, len(self.histories)) for name, value in metrics.items() if value is not None}
        for member, (history, run) in enumerate(zip(self.histories, self.runs, strict=True)):
            row = {name: values[member] for name, values in columns.items()}
            history.add(step or 0, row)
            if run is not None:
                run.log(row, step=step)


def _values(value: Any, stack: int) -> list[float]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.tolist()
    return [float(value)] * stack
