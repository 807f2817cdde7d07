"""What happens beside the training: progress on the terminal, and the last state on disk."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

from lowrank.atomic import replacing
from lowrank.methods.base import MatrixMethod


class Progress(Callback):
    """A progress bar over steps, on a terminal only."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if isinstance(pl_module, MatrixMethod):
            total, done = pl_module.max_steps, pl_module.step_count
        else:
            total, done = int(trainer.num_training_batches) * (trainer.max_epochs or 1), trainer.global_step
        hidden = None if trainer.is_global_zero else True
        self._bar = tqdm(total=total, initial=done, unit="step", leave=False, disable=hidden, dynamic_ncols=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar on."""
        if isinstance(pl_module, MatrixMethod):
            done = pl_module.step_count
            errors = pl_module.last_record
            self._bar.set_postfix_str(f"excess {float(errors['excess_frobenius'].max()):.1e}", refresh=False)
        else:
            done = trainer.global_step
        self._bar.update(done - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away, so that the error stands alone."""
        if hasattr(self, "_bar"):
            self._bar.close()


class LastState(Callback):
    """Keeps the last state in one checkpoint, written anew at most twice a minute and at the end.

    Args:
        path: The checkpoint.
        seconds: Least time between two of them.
    """

    def __init__(self, path: Path, seconds: float = 30.0) -> None:
        self._path, self._seconds = path, seconds
        self._written = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state if it is time; the first process decides for all, who have to meet for it."""
        if isinstance(pl_module, MatrixMethod) and trainer.strategy.broadcast(self._due()):
            self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state of a method whose epochs are passes over data: between them nothing is half summed up."""
        if not isinstance(pl_module, MatrixMethod) and trainer.strategy.broadcast(self._due()):
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last state."""
        self._write(trainer)

    def _due(self) -> bool:
        return time.monotonic() - self._written > self._seconds

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            with replacing(self._path) as partial:
                trainer.save_checkpoint(partial)
        else:
            # Takes part in what all processes do for a checkpoint; the first alone writes it.
            trainer.save_checkpoint(self._path)
        self._written = time.monotonic()
