"""What happens beside the training: the last state on disk, and the end that a signal asks for."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from eckart.methods.method import Method
from eckart.results.atomic import replacing
from eckart.runs.checkpoint import check, form_of, read_checkpoint
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

    def kept_step(self, method: Method, trainer: Trainer) -> int | None:
        """Step of the state that an earlier run of the same config left; None if there is none that can be used.

        Args:
            method: What is trained; it takes the shapes of the state that is used.
            trainer: Its trainer.
        """
        return step_of(self._path, method, trainer, self._identity)

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
        if pl_module.keeps_state and not pl_module.saves_between_blocks and trainer.strategy.broadcast(self._due()):
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last state."""
        if getattr(pl_module, "keeps_state", True):
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


class CommonState(Callback):
    """Keeps the state after the first epochs, which other jobs of the sweep begin with, and the history up to it.

    Args:
        path: The checkpoint.
        history: The history of the job.
    """

    def __init__(self, path: Path, history: Path) -> None:
        self.path, self._history = path, history

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state where the epochs that are common have ended."""
        assert isinstance(pl_module, Method)
        if trainer.current_epoch + 1 != pl_module.common_epochs or pl_module.trainer.should_stop or self.path.exists():
            return
        self.path.parent.mkdir(exist_ok=True)
        if self._history.is_file():
            with replacing(self.path.with_suffix(".csv")) as partial:
                partial.write_bytes(self._history.read_bytes())
        with replacing(self.path) as partial:
            trainer.save_checkpoint(partial)

    def take(self, method: Method, trainer: Trainer) -> int | None:
        """Step of a state that another job left, whose history becomes this one's; None if there is none."""
        step = step_of(self.path, method, trainer, None)
        if step is not None and (kept := self.path.with_suffix(".csv")).is_file():
            with replacing(self._history) as partial:
                partial.write_bytes(kept.read_bytes())
        return step


def step_of(path: Path, method: Method, trainer: Trainer, identity: str | None) -> int | None:
    """Step of a state that a training can continue from; None if it cannot.

    Args:
        path: The checkpoint.
        method: What is trained; it takes the shapes of a state that can be used.
        trainer: Its trainer.
        identity: What the state must be on the way to; None for anything.
    """
    try:
        kept = read_checkpoint(path)
        if identity is not None and kept.get("identity") != identity:
            return None
        method.take_shape(kept)
        check(kept, form_of(method, trainer))
    except (OSError, ValueError):
        # A state that cannot be used is no obstacle to training from the start.
        method.take_shape(None)
        return None
    return int(kept["eckart"].get("step_count", kept["global_step"]))


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
