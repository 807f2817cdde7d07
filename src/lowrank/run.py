"""One stack of jobs: build, fit, measure, write. The only place that instantiates configs or touches W&B."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import wandb
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from pytorch_lightning import Trainer
from safetensors.torch import save
from torch import Tensor

from lowrank import figures, results
from lowrank.atomic import replacing
from lowrank.callbacks import LastState, Progress
from lowrank.config import plain
from lowrank.data.matrix import MatrixData
from lowrank.job import Job
from lowrank.linalg import factor_singular_values, gram_svd, numerical_rank, truncated_svd
from lowrank.loggers import StackLogger
from lowrank.methods.base import MatrixMethod
from lowrank.methods.classifier import Classifier
from lowrank.results import History

Method = MatrixMethod | Classifier


def run(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Train jobs that differ only in rank, seed and the content of their target as one stack.

    Args:
        jobs: The jobs; a single one is a stack of one.

    Returns:
        The result of each job, as in its ``result.json``; nothing in a process that only helps another to train.

    Raises:
        Exception: Whatever stopped the stack. Its W&B runs are then finished as failed.
    """
    stack = _Stack(jobs)
    with _quiet():
        try:
            return stack.run()
        finally:
            stack.close()


class _Stack:
    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs, self.config = jobs, jobs[0].config
        self.runs: list[wandb.Run | None] = [None] * len(jobs)

    def run(self) -> list[dict[str, Any]]:
        data = [instantiate(job.config.data) for job in self.jobs]
        for part in data:
            part.prepare_data()
            part.setup()
        method = self._method(data)
        trainer, histories = self._trainer(method)
        datamodule = data[0] if isinstance(method, Classifier) else None
        checkpoint = self.config.ckpt
        if checkpoint is not None:
            _check_checkpoint(Path(checkpoint), method)
        with _threads(method):
            trainer.fit(method, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return []
        return [self._write(member, method, history, data[member]) for member, history in enumerate(histories)]

    def close(self) -> None:
        for wandb_run in self.runs:
            if wandb_run is not None:
                wandb_run.finish(exit_code=1)

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
        self.precision = str(self.config.trainer.precision or factory.func.precision)
        dtype = {"64": torch.float64, "64-true": torch.float64}.get(self.precision, torch.float32)
        if issubclass(factory.func, MatrixMethod) and self.precision not in ("64", "64-true", "32", "32-true"):
            raise ValueError(f"Matrix methods compute in trainer.precision=64-true or 32-true. Found {self.precision}.")
        method = factory(**stacked, **keywords, dtype=dtype)
        assert isinstance(method, Method)
        return method

    def _trainer(self, method: Method) -> tuple[Trainer, list[History]]:
        node, history = self.config.trainer, self.config.logger.history
        accelerator = _accelerator(node.accelerator, self.precision)
        factory = instantiate(OmegaConf.masked_copy(node, [key for key in node if key != "enable_progress_bar"]))
        histories = [History(job.folder / results.HISTORY if history else None) for job in self.jobs]
        callbacks: list[Any] = [LastState(self.jobs[0].folder / results.CHECKPOINT)]
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
            self._start_wandb()
        return trainer, histories

    def _start_wandb(self) -> None:
        node = self.config.logger.wandb
        # Without an account a run is kept on disk; to be asked for one would stop a run that needs none.
        mode: Literal["offline"] | None = (
            None if wandb.setup().settings.mode != "online" or wandb.login(prompt=False) else "offline"
        )
        for member, job in enumerate(self.jobs):
            group = node.group or (job.sweep.name if job.sweep else None)
            folder = job.sweep or job.folder
            folder.mkdir(parents=True, exist_ok=True)
            self.runs[member] = wandb.init(
                project=node.project,
                entity=node.entity,
                group=group,
                tags=list(node.tags),
                name=job.name,
                dir=folder,
                mode=mode,
                config=plain(job.config),
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
            )

    def _write(self, member: int, method: Method, history: History, data: Any) -> dict[str, Any]:
        job, wandb_run = self.jobs[member], self.runs[member]
        measured = _measure_matrix(method, member) if isinstance(method, MatrixMethod) else _measure_classifier(method)
        left, right, spectrum = measured.pop("left"), measured.pop("right"), measured.pop("spectrum")
        with replacing(job.folder / results.FACTORS) as partial:
            partial.write_bytes(save({"left": left.contiguous(), "right": right.contiguous()}))
        # What was computed is on disk before anything is drawn or sent, which can fail.
        result = results.write_result(job.folder, job.identity() | measured)
        try:
            drawn = []
            if job.config.figures:
                target = data.supply("target")["target"]
                drawn = _draw(job.folder / results.FIGURES, result, history, target, left, right, spectrum)
            if wandb_run is not None:
                result["wandb_run"] = _finish_wandb(wandb_run, measured, drawn)
                self.runs[member] = None
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"the result is whole, but not its figures or its W&B run: {reason}", stacklevel=2)
        result["total_seconds"] = time.perf_counter() - job.began
        return results.write_result(job.folder, result)


def _finish_wandb(run: wandb.Run, measured: dict[str, Any], drawn: list[Path]) -> str | None:
    run.summary.update({key: value for key, value in measured.items() if value is not None})
    if drawn:
        run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in drawn})
    where = run.settings.sync_dir if run.settings.mode == "offline" else run.url
    run.finish(exit_code=0 if measured["status"] == "completed" else 1)
    return where


def _check_checkpoint(path: Path, method: Method) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at ckpt={path}.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)["lowrank"]
    except Exception as error:
        raise ValueError(f"ckpt={path} must be a checkpoint that a run of lowrank wrote. Found none in it.") from error
    if found["of"] != method.describe():
        raise ValueError(f"ckpt={path} must be of {method.describe()}. Found {found['of']}.")
    if isinstance(method, MatrixMethod):
        name, limit, done = "method.max_steps", method.max_steps, found["step_count"]
    else:
        name, limit, done = "method.epochs", method.epochs, len(found["train_loss_sum_per_epoch"])
    if done >= limit:
        raise ValueError(f"{name} must be above the {done} that ckpt={path} has done. Found {name}={limit}.")


def _measure_matrix(method: MatrixMethod, member: int) -> dict[str, Any]:
    rank = method.ranks[member]
    left, right = (factor[member].detach().cpu() for factor in method.factors())
    left, right = left[:, :rank], right[:rank]
    rows, cols = method.reference.shape[1:]
    trained = factor_singular_values(left.double(), right.double())
    numerical = int(numerical_rank(trained.to(left.dtype), (rows, cols)))
    target_rank = int(numerical_rank(method.spectrum[member], (rows, cols)))
    if numerical < min(rank, target_rank):
        warnings.warn(
            f"the approximation has numerical rank {numerical}, below the rank {rank} asked for", stacklevel=2
        )
    errors = {name: float(values[member]) for name, values in method.measure().items()}
    diverged = bool(method.diverged[member])
    reason = method.stop_reason(member)
    return {
        "status": "diverged" if diverged else "completed",
        "error": reason if diverged else None,
        "stop_reason": reason,
        "shape": [rows, cols],
        "loss": float(method.loss[member]),
        "optimum_2norm": float(method.optimum[0][member]),
        "optimum_frobenius": float(method.optimum[1][member]),
        **errors,
        "numerical_rank": numerical,
        "target_rank": target_rank,
        "parameters": rank * (rows + cols),
        "dense_parameters": rows * cols,
        "steps": int(method.steps[member]),
        "fit_seconds": method.fit_seconds,
        "left": left,
        "right": right,
        "spectrum": method.spectrum[member].cpu(),
    }


def _measure_classifier(method: Classifier) -> dict[str, Any]:
    rows, cols = len(method.left), method.right.shape[1]
    reason = "diverged: its loss is no longer finite" if method.diverged else f"ran method.epochs={method.epochs}"
    return {
        "status": "diverged" if method.diverged else "completed",
        "error": reason if method.diverged else None,
        "stop_reason": reason,
        "shape": [rows, cols],
        "loss": method.train_loss,
        "optimum_2norm": float(method.optimum[0]),
        "optimum_frobenius": float(method.optimum[1]),
        **{name: float(error) for name, error in method.errors.items()},
        "numerical_rank": int(numerical_rank(factor_singular_values(method.left, method.right), (rows, cols))),
        "target_rank": int(numerical_rank(method.spectrum, (rows, cols))),
        "parameters": method.rank * (rows + cols),
        "dense_parameters": rows * cols,
        "steps": method.trainer.global_step,
        "fit_seconds": method.fit_seconds,
        "accuracy": method.accuracy,
        "train_loss_sum_per_epoch": method.train_loss_sum_per_epoch,
        "left": method.left,
        "right": method.right,
        "spectrum": method.spectrum,
    }


def _draw(
    folder: Path,
    result: dict[str, Any],
    history: History,
    target: Tensor,
    left: Tensor,
    right: Tensor,
    spectrum: Tensor,
) -> list[Path]:
    rank, block = result["rank"], figures.BLOCK
    tall = max(target.shape) >= 8 * min(target.shape)
    u, s, vh = (gram_svd if tall else truncated_svd)(target, rank)
    drawn = [
        figures.approximation(
            folder / "approximation.png",
            target[:block, :block],
            (left[:block] @ right[:, :block]).detach(),
            (u[:block] * s) @ vh[:, :block],
            shape=(target.shape[0], target.shape[1]),
            rank=rank,
            relative_frobenius=result["relative_frobenius"],
            optimum_frobenius=result["optimum_frobenius"],
        ),
        figures.singular_values(
            folder / "singular_values.png",
            spectrum,
            factor_singular_values(left.double(), right.double()),
            rank,
        ),
    ]
    epochs, accuracy = history.column("accuracy")
    if epochs:
        _, loss = history.column("train/loss")
        drawn.append(figures.accuracy(folder / "accuracy.png", list(range(1, len(epochs) + 1)), loss, accuracy))
        return drawn
    steps, loss = history.column("train/loss")
    if len(steps) > 1:
        drawn.append(
            figures.convergence(
                folder / "convergence.png",
                steps,
                loss,
                history.column("relative_2norm")[1],
                history.column("relative_frobenius")[1],
                result["optimum_2norm"],
                result["optimum_frobenius"],
            )
        )
    return drawn


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
    if isinstance(method, Classifier) or method.reference.numel() < 10**6:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # What Lightning says of itself is of no use to who runs a method: its hints on workers, loggers and hardware.
    names = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
