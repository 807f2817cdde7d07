from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint, Timer, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import Logger

from eckart.results.history import History
from eckart.runs.lightning_loggers import LightningTracker
from eckart.runs.loggers import StackLogger, Tracker
from eckart.runs.user_callbacks import sees_steps, trainer_options

# The hooks of Lightning's own class, apart from the list that is tested: those of training batches and optimizer steps.
HOOKS = {
    name
    for name in vars(Callback)
    if name.startswith("on_")
    and any(word in name for word in ("train_batch", "zero_grad", "backward", "optimizer_step"))
}


class Inner(Callback):
    def on_before_optimizer_step(self, *_: Any) -> None:
        pass


class Inherited(Inner):
    """Overrides no hook itself."""


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_every_hook_of_steps_counts(hook: str) -> None:
    assert sees_steps(LambdaCallback(**{hook: lambda *_: None}))
    assert sees_steps(type("Own", (Callback,), {hook: lambda *_: None})())


@pytest.mark.parametrize("callback", [Callback(), EarlyStopping("train/loss"), LambdaCallback(on_train_end=print)])
def test_no_other_hook_counts(callback: Callback) -> None:
    assert not sees_steps(callback)


def test_an_inherited_hook_counts() -> None:
    assert sees_steps(Inherited())


@pytest.mark.parametrize("callback", [ModelCheckpoint(), TQDMProgressBar(), Timer()])
def test_lightning_takes_each_callback(callback: Callback, tmp_path: Path) -> None:
    options = trainer_options([callback])
    trainer = Trainer(callbacks=[callback], logger=False, default_root_dir=tmp_path, accelerator="cpu", **options)
    assert len(trainer.checkpoint_callbacks) == isinstance(callback, ModelCheckpoint)
    assert (trainer.progress_bar_callback is not None) == isinstance(callback, TQDMProgressBar)


class Kept(Logger):
    """A Lightning logger that keeps what it is told."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.ended: list[str] = []

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.params = params

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.ended.append(status)


TRAINER = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)


def test_each_member_has_its_own_metrics() -> None:
    loggers = [Kept(), Kept()]
    trackers: list[list[Tracker]] = [[LightningTracker(logger, {"seed": seed})] for seed, logger in enumerate(loggers)]
    stack = StackLogger([History(None), History(None)], trackers, [{"optimum_2norm": 0.25}, {}])
    stack.begin(TRAINER)
    stack.log_metrics({"loss": torch.tensor([1.0, 2.0]), "lr": 0.5, "step": torch.tensor([3, 4])}, step=9)
    stack.log_metrics({"loss": torch.tensor([5.0, 6.0]), "moved": torch.tensor([True, False])}, step=10)
    stack.log_metrics({"relative_frobenius": torch.tensor([7.0, 8.0])}, step=11)
    stack.finalize("success")
    assert loggers[0].rows == [
        (3, {"loss": 1.0, "lr": 0.5}),
        (10, {"loss": 5.0}),
        # The optimum stands beside the errors, and only there.
        (11, {"relative_frobenius": 7.0, "optimum_2norm": 0.25}),
    ]
    assert loggers[1].rows == [(4, {"loss": 2.0, "lr": 0.5}), (11, {"relative_frobenius": 8.0})]
    assert stack.histories[0].rows == [
        {"step": 3, "loss": 1.0, "lr": 0.5},
        {"step": 10, "loss": 5.0},
        {"step": 11, "relative_frobenius": 7.0},
    ]
    assert [logger.params for logger in loggers] == [{"seed": 0}, {"seed": 1}]
    # A result comes after the training; only then a logger ends.
    assert [logger.ended for logger in loggers] == [[], []]


def test_a_tracker_that_fails_is_left_out() -> None:
    class Broken(Kept):
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if len(self.rows) == 1:
                raise ConnectionResetError("Connection lost")
            super().log_metrics(metrics, step)

    loggers = [Broken(), Kept(), Broken()]
    first: list[Tracker] = [LightningTracker(logger, {}) for logger in loggers[:2]]
    history = History(None)
    stack = StackLogger([history, History(None)], [first, [LightningTracker(loggers[2], {})]])
    stack.begin(TRAINER)
    with pytest.warns(UserWarning) as warned:
        for step in range(4):
            stack.log_metrics({"loss": 1.0}, step=step)
    assert {str(warning.message) for warning in warned} == {
        "the training goes on without the logger Broken: Connection lost"
    }
    assert [len(logger.rows) for logger in loggers] == [1, 4, 1] and len(history.rows) == 4


def test_a_logger_of_lightning_writes_its_file(tmp_path: Path) -> None:
    stack = StackLogger([History(None)], [[LightningTracker(CSVLogger(tmp_path), {})]])
    stack.log_metrics({"loss": torch.tensor([1.5])}, step=2)
    stack.save()
    assert (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().split() == ["loss,step", "1.5,2"]


def test_callbacks_find_the_object_of_the_logger(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    assert StackLogger([History(None)], [[LightningTracker(logger, {})]]).experiment is logger.experiment
    assert StackLogger([History(None)]).experiment is None


def test_callbacks_find_the_metrics_of_the_run() -> None:
    stack = StackLogger([History(None)])
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    stack.begin(trainer)
    stack.log_metrics({"accuracy": 0.5, "step": torch.tensor([1])})
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == {"accuracy": 0.5}
