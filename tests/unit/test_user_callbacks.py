from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint, Timer, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import Logger

from eckart.results.history import History
from eckart.runs.loggers import StackLogger
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


def test_each_member_has_its_own_metrics() -> None:
    loggers = [Kept(), Kept()]
    stack = StackLogger([History(None), History(None)], [None, None], [[logger] for logger in loggers])
    stack.begin(Trainer(logger=False, accelerator="cpu", enable_checkpointing=False), [{"seed": 0}, {"seed": 1}])
    stack.log_metrics({"loss": torch.tensor([1.0, 2.0]), "lr": 0.5, "step": torch.tensor([3, 4])}, step=9)
    stack.log_metrics({"loss": torch.tensor([5.0, 6.0]), "moved": torch.tensor([True, False])}, step=10)
    stack.finalize("success")
    assert loggers[0].rows == [(3, {"loss": 1.0, "lr": 0.5}), (10, {"loss": 5.0})]
    assert loggers[1].rows == [(4, {"loss": 2.0, "lr": 0.5})]
    assert stack.histories[0].rows == [{"step": 3, "loss": 1.0, "lr": 0.5}, {"step": 10, "loss": 5.0}]
    assert [logger.params for logger in loggers] == [{"seed": 0}, {"seed": 1}]
    assert [logger.ended for logger in loggers] == [["success"], ["success"]]


def test_a_logger_of_lightning_writes_its_file(tmp_path: Path) -> None:
    stack = StackLogger([History(None)], [None], [[CSVLogger(tmp_path)]])
    stack.log_metrics({"loss": torch.tensor([1.5])}, step=2)
    stack.save()
    assert (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().split() == ["loss,step", "1.5,2"]


def test_callbacks_find_the_metrics_of_the_run() -> None:
    stack = StackLogger([History(None)], [None])
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    stack.begin(trainer, [{}])
    stack.log_metrics({"accuracy": 0.5, "step": torch.tensor([1])})
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == {"accuracy": 0.5}
