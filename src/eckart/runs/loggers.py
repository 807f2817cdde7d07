"""Loggers of a stack: each member's metrics go to its own history, W&B run and Lightning loggers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from wandb import Run

from eckart.results.history import History


class StackLogger(Logger):
    """Gives each member of a stack its own metrics.

    Args:
        histories: One for each member.
        runs: W&B run of each member, or None. The list may be filled later.
        loggers: Lightning loggers of each member; None for no loggers.

    The metrics of a single member are also put into the trainer's ``callback_metrics``, where callbacks such as
    ``EarlyStopping`` look for them.
    """

    def __init__(
        self,
        histories: Sequence[History],
        runs: Sequence[Run | None],
        loggers: Sequence[Sequence[Logger]] | None = None,
    ) -> None:
        super().__init__()
        self.histories, self.runs = histories, runs
        self.loggers = [[] for _ in histories] if loggers is None else loggers
        self._trainer: Trainer | None = None

    @property
    def name(self) -> str:
        """Name that Lightning shows."""
        return "eckart"

    @property
    def version(self) -> str:
        """Empty, since each run has a folder of its own."""
        return ""

    def begin(self, trainer: Trainer, configs: Sequence[dict[str, Any]]) -> None:
        """Give the Lightning loggers of each member its config as hyperparameters.

        Args:
            trainer: The trainer of the stack.
            configs: Config of each member.
        """
        self._trainer = trainer if len(self.histories) == 1 else None
        for own, config in zip(self.loggers, configs, strict=True):
            for logger in own:
                logger.log_hyperparams(config)

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
        for member, (history, run) in enumerate(zip(self.histories, self.runs, strict=True)):
            if not moved[member]:
                continue
            row = {name: values[member] for name, values in columns.items()}
            history.add(int(steps[member]), row)
            if run is not None:
                run.log(row, step=int(steps[member]))
            for logger in self.loggers[member]:
                logger.log_metrics(row, step=int(steps[member]))
            if self._trainer is not None:
                self._trainer.callback_metrics.update({name: torch.tensor(value) for name, value in row.items()})

    def save(self) -> None:
        """Have the Lightning loggers write what they hold."""
        for own in self.loggers:
            for logger in own:
                logger.save()

    def finalize(self, status: str) -> None:
        """End the Lightning loggers."""
        for own in self.loggers:
            for logger in own:
                logger.finalize(status)


def logger_settings(node: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings of a Lightning logger, with the folder of the job where the config says ``save_dir: null``.

    Example:
        >>> logger_settings({"_target_": "a.B", "save_dir": None}, Path("job"))
        {'_target_': 'a.B', 'save_dir': 'job'}
        >>> logger_settings({"_target_": "a.B", "save_dir": "all"}, Path("job"))
        {'_target_': 'a.B', 'save_dir': 'all'}
    """
    own = {"save_dir": str(folder)} if "save_dir" in node and node["save_dir"] is None else {}
    return {**node, **own}


def _values(value: Any, stack: int) -> list[float]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.tolist()
    return [float(value)] * stack
