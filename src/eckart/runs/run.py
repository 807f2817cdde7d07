"""One stack of jobs: build, fit, measure, write. The only place that instantiates configs."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import wandb
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from pytorch_lightning import Trainer
from safetensors.torch import save
from torch import Tensor

from eckart.data.matrix import MatrixData
from eckart.errors import concerns_all, one_line
from eckart.methods.base import MatrixMethod
from eckart.methods.classifier import Classifier
from eckart.results.atomic import replacing
from eckart.results.history import HISTORY, History
from eckart.results.result import FACTORS, FIGURES, write_result
from eckart.runs import tracking
from eckart.runs.callbacks import Interruption, LastState, Progress
from eckart.runs.checkpoint import check, form_of, read_checkpoint
from eckart.runs.drawing import draw
from eckart.runs.interruption import Interrupted, before_exit, claim_exit
from eckart.runs.loggers import StackLogger
from eckart.runs.measuring import measure
from eckart.runs.stack import Stack

Method = MatrixMethod | Classifier


def run(stack: Stack) -> list[dict[str, Any]]:
    """Train a stack of jobs.

    Returns:
        The result of each job, as in its ``result.json``; nothing in a process that only helps another to train.

    Raises:
        Exception: Whatever stopped the stack. Its W&B runs are then finished as failed.
    """
    training = _Training(stack)
    with _quiet(), before_exit(training.interrupt):
        try:
            return training.run()
        except (KeyboardInterrupt, SystemExit) as end:
            claim_exit()
            training.interrupt()
            # Lightning turns an interrupt into an exit.
            raise Interrupted.by(end.__context__ if isinstance(end, SystemExit) else end) from None
        except Exception as error:
            if not concerns_all(error):
                training.disown()
            raise
        finally:
            training.close()


class _Training:
    def __init__(self, stack: Stack) -> None:
        self.stack, self.jobs, self.config = stack, stack.jobs, stack.jobs[0].config
        # A single run counts from where it was asked for; a job of a sweep waits for others first.
        self.began = self.jobs[0].began if self.jobs[0].sweep is None else time.perf_counter()
        self.runs: list[wandb.Run | None] = [None] * len(self.jobs)
        self.results: list[dict[str, Any] | None] = [None] * len(self.jobs)
        self.last_state = LastState(stack.checkpoint, stack.identity)

    def run(self) -> list[dict[str, Any]]:
        data = self._data()
        method = self._method(data)
        trainer, histories = self._trainer(method)
        datamodule = data[0] if isinstance(method, Classifier) else None
        checkpoint = self._checkpoint(method, trainer, histories)
        with _threads(method):
            trainer.fit(method, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return []
        measured = measure(method)
        # What was computed is on disk before anything is drawn or sent, which can fail.
        for member, (figures, tensors) in enumerate(measured):
            self.results[member] = self._write(member, figures, tensors)
        for member, (figures, tensors) in enumerate(measured):
            self._present(member, figures, tensors, histories[member], data[member])
        if self.jobs[0].sweep is not None and isinstance(method, MatrixMethod):
            # The factors of a job are all that a sweep is for; a single run can be gone on with.
            self.stack.forget()
        return [result for result in self.results if result is not None]

    def interrupt(self) -> None:
        for job, result in zip(self.jobs, self.results, strict=True):
            # It can have come just after a result was written.
            if result is None and job.completed() is None:
                job.fail("interrupted")
        self.close()

    def disown(self) -> None:
        """Take the W&B runs of a stack away, whose jobs will be tried again in others."""
        for member, wandb_run in enumerate(self.runs):
            if len(self.runs) > 1 and wandb_run is not None:
                tracking.discard(wandb_run)
                self.runs[member] = None

    def close(self) -> None:
        tracking.fail([wandb_run for wandb_run in self.runs if wandb_run is not None])
        self.runs = [None] * len(self.jobs)

    def _data(self) -> list[MatrixData]:
        data: list[MatrixData] = []
        for job in self.jobs:
            part = instantiate(job.config.data)
            part.prepare_data()
            part.setup()
            if not data:
                self._check_memory(part)
            data.append(part)
        return data

    def _check_memory(self, data: MatrixData) -> None:
        limit = self.stack.memory
        if limit is None or len(self.jobs) == 1:
            return
        rows, cols = data.supply("target")["target"].shape
        # The target, its residual, a hidden layer and what the optimizer remembers; and the probes drawn once.
        needed = len(self.jobs) * 8 * (16 * rows * cols + (self.config.method.get("vectors") or 0) * cols)
        if needed > limit:
            raise MemoryError(
                f"A stack may take hydra.launcher.memory={limit / 2**30:g} GiB. Found {needed / 2**30:.1f}."
            )

    def _method(self, data: Sequence[MatrixData]) -> Method:
        node = self.config.method
        supplies = [part.supply(node.needs) for part in data]
        # A view and no copy for a single run, whose target can be large.
        stacked = {
            name: torch.stack([supply[name] for supply in supplies]) if len(supplies) > 1 else supplies[0][name][None]
            for name in supplies[0]
        }
        keywords: dict[str, Any] = {
            "ranks": [job.config.rank for job in self.jobs],
            "seeds": [job.config.seed for job in self.jobs],
        }
        if self.config.optimizer.get("_target_") is not None:
            keywords["optimizer"] = instantiate(self.config.optimizer, _convert_="all")
            keywords["schedule"] = instantiate(self.config.schedule) if self.config.schedule._target_ else None
        factory = instantiate(OmegaConf.masked_copy(node, [key for key in node if key != "needs"]), _convert_="all")
        if issubclass(factory.func, MatrixMethod):
            keywords["width"] = self.stack.width
        self.precision = str(self.config.trainer.precision or factory.func.precision)
        dtype = {"64": torch.float64, "64-true": torch.float64}.get(self.precision, torch.float32)
        if issubclass(factory.func, MatrixMethod) and self.precision not in ("64", "64-true", "32", "32-true"):
            raise ValueError(f"Matrix methods compute in trainer.precision=64-true or 32-true. Found {self.precision}.")
        method = factory(**stacked, **keywords, dtype=dtype)
        assert isinstance(method, Method)
        return method

    def _trainer(self, method: Method) -> tuple[Trainer, list[History]]:
        node, logged = self.config.trainer, self.config.logger.history
        accelerator = _accelerator(node.accelerator, self.precision)
        factory = instantiate(OmegaConf.masked_copy(node, [key for key in node if key != "enable_progress_bar"]))
        histories = [History(job.folder / HISTORY if logged else None) for job in self.jobs]
        callbacks: list[Any] = [self.last_state, Interruption()]
        if node.enable_progress_bar:
            callbacks.append(Progress())
        try:
            trainer = factory(
                accelerator=accelerator,
                precision=self.precision,
                max_epochs=method.epochs if isinstance(method, Classifier) else -1,
                logger=StackLogger(histories, self.runs),
                callbacks=callbacks,
                default_root_dir=self.jobs[0].folder,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                num_sanity_val_steps=0,
            )
        except MisconfigurationException as error:
            raise ValueError(f"trainer.accelerator={accelerator} is not to be had on this machine. {error}") from error
        if not trainer.is_global_zero:
            for silent in histories:
                silent.path = None
        elif self.config.logger.wandb is not None:
            for member, wandb_run in enumerate(tracking.start(self.jobs, self.config.logger.wandb)):
                self.runs[member] = wandb_run
        return trainer, histories

    def _checkpoint(self, method: Method, trainer: Trainer, histories: Sequence[History]) -> Path | None:
        kept = self.last_state.kept_step(form_of(method, trainer)) if self.jobs[0].resumes else None
        if kept is not None:
            for history in histories:
                history.resume(kept)
            return self.stack.checkpoint
        if self.config.ckpt is None:
            return None
        path = Path(self.config.ckpt)
        _check_checkpoint(path, method, trainer)
        return path

    def _write(self, member: int, figures: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
        job = self.jobs[member]
        try:
            with replacing(job.folder / FACTORS) as partial:
                partial.write_bytes(save({name: tensors[name].contiguous() for name in ("left", "right")}))
            return write_result(job.folder, job.identity() | figures | {"total_seconds": self._seconds()})
        except OSError as error:
            if concerns_all(error):
                raise
            # The folder of one job is no reason to lose the others.
            return job.fail(one_line(error))

    def _present(
        self, member: int, figures: dict[str, Any], tensors: dict[str, Tensor], history: History, data: MatrixData
    ) -> None:
        job, wandb_run, result = self.jobs[member], self.runs[member], self.results[member]
        if result is None or result["status"] == "failed" or not (job.draws or wandb_run is not None):
            return
        try:
            drawn = []
            if job.draws:
                target = data.supply("target")["target"]
                drawn = draw(job.folder / FIGURES, result, history, target, **tensors)
            if wandb_run is not None:
                result["wandb_run"] = tracking.finish(wandb_run, figures, drawn)
                self.runs[member] = None
            self.results[member] = write_result(job.folder, result | {"total_seconds": self._seconds()})
        except Exception as error:
            warnings.warn(f"the result is whole, but not its figures or its W&B run: {one_line(error)}", stacklevel=2)

    def _seconds(self) -> float:
        return (time.perf_counter() - self.began) / len(self.jobs)


def _check_checkpoint(path: Path, method: Method, trainer: Trainer) -> None:
    try:
        found = read_checkpoint(path)
        check(found, form_of(method, trainer))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no checkpoint at ckpt={path}.") from None
    except ValueError as error:
        raise ValueError(f"ckpt={path}: {error}") from error
    found = found["eckart"]
    if isinstance(method, MatrixMethod):
        name, limit, done = "method.max_steps", method.max_steps, found["step_count"]
    else:
        name, limit, done = "method.epochs", method.epochs, len(found["train_loss_sum_per_epoch"])
    if done >= limit:
        raise ValueError(f"{name} must be above the {done} that ckpt={path} has done. Found {name}={limit}.")


def _accelerator(asked: str, precision: str) -> str:
    double = precision.startswith("64")
    if asked == "mps" and double:
        raise ValueError(
            f"trainer=mps has no float64: add trainer.precision=32-true. Found trainer.precision={precision}."
        )
    if asked == "auto" and double and torch.backends.mps.is_available():
        return "cpu"
    return asked


@contextlib.contextmanager
def _threads(method: Method) -> Iterator[None]:
    # Below about a million entries a second thread costs more than it saves, far more on a busy machine.
    before = torch.get_num_threads()
    if isinstance(method, Classifier) or method.reference[0].numel() < 10**6:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # What Lightning says of itself is of no use to who runs a method: its hints on workers, loggers and hardware.
    names = ("pytorch_lightning", "lightning_fabric")
    # Nor is what W&B cannot write to its own log.
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        try:
            yield
        finally:
            logging.raiseExceptions = raising
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
