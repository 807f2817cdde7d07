"""What happens beside the training: the last state on disk, and the end that a signal asks for."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from eckart.methods.method import Method
from eckart.results.atomic import replacing
from eckart.runs.checkpoint import check, read_checkpoint
from eckart.runs.interruption import StopSignals


class LastState(Callback):
    """Keeps the last state in one checkpoint, written anew at most twice a minute and at the end.

    Args:
        path: The checkpoint.
        identity: What the state is on the way to.
        seconds: Least time between two of them.
    """

    def __init__(self, path: Path, identity: str = "", seconds: float = 30.0) -> None:
        self._path, self._identity, self._seconds = path, identity, seconds
        self._written = time.monotonic()

    def kept_step(self, form: Mapping[str, Any]) -> int | None:
        """Step of the state that an earlier run of the same config left; None if there is none that can be used.

        Args:
            form: Keys, types and shapes of this run's own checkpoints.
        """
        try:
            kept = read_checkpoint(self._path)
            if kept.get("identity") != self._identity:
                return None
            check(kept, form)
        except (OSError, ValueError):
            # A state that cannot be used is no obstacle to training from the start.
            return None
        return kept["eckart"].get("step_count", kept["global_step"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state if it is time; the first process decides for all, who have to meet for it."""
        assert isinstance(pl_module, Method)
        if pl_module.saves_between_blocks and trainer.strategy.broadcast(self._due() or pl_module.interrupted):
            self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state of a method whose epochs are passes over data: between them nothing is half summed up."""
        assert isinstance(pl_module, Method)
        if not pl_module.saves_between_blocks and trainer.strategy.broadcast(self._due()):
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last state."""
        self._write(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what the state is on the way to."""
        checkpoint["identity"] = self._identity

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


class Interruption(Callback):
    """Ends the training between two steps when the process receives SIGINT or SIGTERM, so that its state is kept."""

    def __init__(self) -> None:
        self._signals = StopSignals()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the signal handlers of Lightning, which end the process only after a whole block of steps."""
        pl_module.interrupted = False  # type: ignore[assignment]
        self._signals.install(lambda: setattr(pl_module, "interrupted", True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the run; its state has been written before."""
        if self._signals.asked:
            self._signals.end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the handlers; a signal during the last step ends the run here."""
        self._signals.restore()
        if self._signals.asked:
            self._signals.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the handlers; a signal that arrived before an error still ends the run."""
        self._signals.restore()
        if self._signals.asked and not isinstance(exception, KeyboardInterrupt):
            self._signals.end()
