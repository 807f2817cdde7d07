"""The base of methods that pass over labeled samples: what they keep of each epoch, and where a diverging one ends."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eckart.methods.method import Method
from eckart.methods.optimizers import restore_settings


class EpochMethod(Method):
    """A method whose model ``net`` Lightning trains on batches of labeled samples, epoch by epoch.

    Attributes:
        train_loss_sum_per_epoch: Losses of the batches of each epoch, summed.
        train_loss: Mean loss of the batches of the last epoch.
        diverged: Whether a loss was not finite.
    """

    precision = "32-true"
    precisions = ()
    reads_batches = True
    trains_factors = False
    saves_between_blocks = False
    net: Any

    def __init__(self, ranks: Sequence[Any], seeds: Sequence[int]) -> None:
        super().__init__(ranks, seeds)
        self.train_loss_sum_per_epoch: list[float] = []
        self.train_loss = float("nan")
        self.diverged = False
        self._sum = torch.zeros(())
        # What is recorded at first is empty.
        self._record: dict[str, Any] | None = {}

    def on_train_start(self) -> None:
        """Train with the settings of this run's config, also from a checkpoint."""
        restore_settings(self.optimizers(use_pl_optimizer=False))

    def on_train_epoch_start(self) -> None:
        """Start a new sum, and keep the state that a run which diverges goes back to."""
        self._began = time.perf_counter()
        self.begin_epoch()
        self._finite_state = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self._sum = torch.zeros((), dtype=torch.float64, device=self.device)

    def begin_epoch(self) -> None:
        """Do what is to be done before the batches of an epoch."""

    def count(self, loss: Tensor) -> None:
        """Add the loss of a batch, without its graph, and notice if it is not finite."""
        self._sum += loss
        self.diverged = not loss.isfinite()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A loss that is not finite ends the run at the epoch's first state."""
        if self.diverged:
            self.net.load_state_dict(self._finite_state)
            self.trainer.should_stop = True

    def end_epoch(self, batches: int, figures: Mapping[str, Any]) -> None:
        """Record an epoch, unless it diverged.

        Args:
            batches: How many it had.
            figures: What else is recorded of it.
        """
        if self.diverged:
            return
        total = float(self._sum)
        self.train_loss_sum_per_epoch.append(total)
        self.train_loss = total / batches
        self.fit_seconds += time.perf_counter() - self._began
        own = {"train/loss": self.train_loss, "train/loss_sum": total, "epoch": self.current_epoch + 1}
        self._record = {**own, **figures}

    def of_epochs(self, limit: str) -> dict[str, Any]:
        """Fields of the result: status, why it stopped, and the losses.

        Args:
            limit: The epochs asked for, in words.
        """
        done = len(self.train_loss_sum_per_epoch)
        reason = f"ran {limit}" if done >= self.max_epochs else f"stopped by a callback after {done} of {limit}"
        if self.diverged:
            reason = "diverged: its loss is no longer finite"
        return {
            "status": "diverged" if self.diverged else "completed",
            "error": reason if self.diverged else None,
            "stop_reason": reason,
            "loss": self.train_loss,
            "train_loss_sum_per_epoch": self.train_loss_sum_per_epoch,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["eckart"] |= {
            "train_loss_sum_per_epoch": self.train_loss_sum_per_epoch,
            "train_loss": self.train_loss,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue where the checkpoint stopped."""
        own = checkpoint["eckart"]
        self.train_loss_sum_per_epoch, self.train_loss = own["train_loss_sum_per_epoch"], own["train_loss"]
        self.fit_seconds = own["fit_seconds"]
