"""Measuring while a method trains: training hands over its factors, and never sees what they are held against."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from eckart.linalg.reference import ObservedReference, Reference
from eckart.methods.method import Method


class Recorder(Callback):
    """Measures what a method records, hands it to the loggers, and stops members by the excess where that was asked.

    Args:
        reference: The targets; None for a method that learns none.
    """

    def __init__(self, reference: Reference | ObservedReference | None) -> None:
        self._reference = reference
        self._measured = False
        self.last: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Measure on the device that is trained on."""
        if self._reference is not None:
            self._reference.to(trainer.strategy.root_device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the state that training starts from."""
        self._log(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log what a block of steps came to."""
        self._log(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what an epoch came to, before other callbacks look at it."""
        self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what an epoch came to."""
        self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is left."""
        self._log(trainer, pl_module)

    def take(self, method: Method) -> dict[str, Any] | None:
        """Measure what a method has recorded; None where it has recorded nothing new.

        Returns:
            The method's own figures and the errors, as :class:`~eckart.runs.loggers.StackLogger` takes them.
        """
        recorded = method.record()
        if recorded is None:
            return None
        errors: dict[str, Any] = {}
        if self._reference is not None and (method.trains_factors or not self._measured):
            errors = dict(self._reference.errors(*method.factors(), tolerance=max(method.tolerance / 10, 1e-12)))
            method.processes.follow_first(errors.values())
            self._measured = True
        self.last = recorded | errors
        if method.stop == "excess" and errors:
            excess = torch.maximum(errors["excess_2norm"], errors["excess_frobenius"])
            # Without a tolerance nothing is good enough, not even an excess that rounding makes negative.
            method.stop_members((excess <= method.tolerance) & (method.tolerance > 0))
        return self.last

    def _log(self, trainer: Trainer, method: LightningModule) -> None:
        assert isinstance(method, Method)
        if (taken := self.take(method)) is not None:
            for logger in trainer.loggers:
                logger.log_metrics(taken, step=trainer.global_step)
