"""Callbacks of Lightning that the config names."""

from typing import Any

import pytest
from commandline import SMALL, Train, history
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.numpy import load_file

ADAM = ("method=factorization", *SMALL, "rank=2", "optimizer=adam", "method.max_steps=25", "method.tolerance=0")
QUIET = ("figures=false", "logger=csv")
CLASSIFIER = ("method=classifier", "data=digits", "rank=4", "method.epochs=6")


class Counting(Callback):
    """Counts the hooks of steps, and keeps the global step that it sees in each."""

    trainings = 0
    seen: list[tuple[str, int]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        type(self).seen = []
        type(self).trainings += 1

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(("start", trainer.global_step))

    def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(("step", trainer.global_step))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(("end", trainer.global_step))


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECKART_ALLOW", __name__)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (ADAM, 25),
        ((*ADAM, "optimizer=sgd", "schedule=cosine"), 25),
        ((*ADAM, "optimizer=riemannian_cg", "method.max_steps=7"), 7),
        ((*ADAM, "optimizer=entrywise_sgd"), 25),
        (("method=bottleneck", *SMALL, "rank=2", "optimizer=adam", "method.max_steps=25", "method.tolerance=0"), 25),
    ],
)
def test_a_callback_sees_each_optimizer_step(arguments: tuple[str, ...], steps: int, train: Train) -> None:
    ended = train(*arguments, *QUIET, f"+callbacks.counting._target_={__name__}.Counting")
    assert ended.code == 0, ended.stderr
    expected = [(hook, step + (hook == "end")) for step in range(steps) for hook in ("start", "step", "end")]
    assert Counting.seen == expected
    alone = train(*arguments, *QUIET)
    if "method=bottleneck" in arguments:
        # A compiled loop takes the steps where no callback sees them.
        for seen, unseen in zip(history(ended.folder), history(alone.folder), strict=True):
            assert [float(value) for value in seen.values()] == pytest.approx([*map(float, unseen.values())], rel=1e-8)
        return
    # What is trained is the same, to the last bit, as without a callback.
    assert history(ended.folder) == history(alone.folder)
    found, other = (load_file(folder / "factors.safetensors") for folder in (ended.folder, alone.folder))
    assert all((found[side] == other[side]).all() for side in ("left", "right"))


def test_several_callbacks_are_chosen_by_name(train: Train) -> None:
    ended = train(*ADAM, *QUIET, "callbacks=[timer,learning_rate]", "+trainer.log_every_n_steps=1", "schedule=cosine")
    assert ended.code == 0, ended.stderr
    rows = [row for row in history(ended.folder) if row["lr-Adam"]]
    assert [int(row["step"]) for row in rows] == list(range(25))
    rates = [float(row["lr-Adam"]) for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0]


@pytest.mark.parametrize("arguments", [ADAM, CLASSIFIER])
def test_a_callback_stops_the_training(arguments: tuple[str, ...], train: Train) -> None:
    ended = train(*arguments, *QUIET, "callbacks=timer", "callbacks.timer.duration='00:00:00:00'")
    assert (ended.code, ended.result["status"]) == (0, "completed"), ended.stderr
    assert ended.result["steps"] <= 1 or arguments is CLASSIFIER
    assert ended.result["stop_reason"].startswith("stopped by a callback")


def test_the_classifier_stops_early(train: Train) -> None:
    settings = ("callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=1.0")
    ended = train(*CLASSIFIER, *QUIET, "callbacks=early_stopping", *settings)
    assert ended.code == 0, ended.stderr
    assert len(ended.result["train_loss_sum_per_epoch"]) == 2
    assert ended.result["stop_reason"] == "stopped by a callback after 2 of method.epochs=6"


def test_checkpoints_are_named_by_the_step(train: Train) -> None:
    node = "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 10, save_top_k: -1}"
    ended = train(*ADAM, *QUIET, f"+callbacks.checkpoint={node}")
    assert ended.code == 0, ended.stderr
    written = {path.name for path in ended.folder.rglob("epoch=*.ckpt")}
    assert written == {"epoch=0-step=10.ckpt", "epoch=0-step=20.ckpt"}


def test_jobs_with_callbacks_are_trained_alone(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "trainings", 0)
    ended = train("-m", *ADAM, *QUIET, "seed=0,1", f"+callbacks.counting._target_={__name__}.Counting")
    assert ended.code == 0, ended.stderr
    assert Counting.trainings == len(ended.folders) == 2


def test_a_callback_that_is_wrong_is_one_line(train: Train) -> None:
    node = "{_target_: pytorch_lightning.callbacks.Timer, duration: soon}"
    ended = train(*ADAM, *QUIET, f"+callbacks.timer={node}")
    assert ended.code == 1 and "duration" in ended.line
