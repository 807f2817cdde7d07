"""Loggers of Lightning that the config names, as trackers: TensorBoard, MLflow, and any other."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger
from pytorch_lightning.loggers.logger import Logger

from eckart.runs.job import Job
from eckart.tracking.metrics import PICTURES

RESULT = "result/"
"""What the names of the result's numbers begin with, so that they are not taken for measurements of the training."""

_FIRST = ("excess_frobenius", "excess_2norm", "relative_frobenius", "relative_2norm", "accuracy")
# They are hyperparameters.
_SETTINGS = ("rank", "seed")
# Its store of plain files needs no server and no database, but has to be asked for; the other sends usage over the net.
_MLFLOW = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


class LightningTracker:
    """A logger of Lightning for one run.

    Args:
        logger: The logger; its file is made when it is first written to.
        config: The run's config, its hyperparameters.
    """

    def __init__(self, logger: Logger, config: Mapping[str, Any]) -> None:
        self.logger, self._config = logger, dict(config)
        self.name = f"the logger {type(logger).__name__}"

    @property
    def experiment(self) -> Any:
        """The logger's own object, such as TensorBoard's ``SummaryWriter``."""
        return getattr(self.logger, "experiment", None)

    def begin(self) -> None:
        """Give it the hyperparameters."""
        self.logger.log_hyperparams(self._config)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step."""
        self.logger.log_metrics(dict(row), step=step)

    def save(self) -> None:
        """Write what was logged."""
        self.logger.save()

    def finish(self, result: Mapping[str, Any], drawn: Sequence[Path]) -> None:
        """End with the numbers of the result, under names that begin with ``result/``, and the figures."""
        numbers = {
            f"{RESULT}{name}": float(result[name]) for name in sorted(result, key=_place) if _is_number(result, name)
        }
        step = int(result["steps"])
        if isinstance(self.logger, TensorBoardLogger):
            # Once only, at the end: its table of hyperparameters shows what it is given first.
            self.logger.log_hyperparams(self._config, numbers, step=step)
        else:
            self.logger.log_metrics(numbers, step=step)
        for path in drawn:
            self._show(path, step)
        self.logger.finalize("success" if result["status"] == "completed" else "failed")

    def fail(self) -> None:
        """End as failed."""
        self.logger.finalize("failed")

    def discard(self) -> None:
        """Remove the run."""
        self.fail()
        if isinstance(self.logger, TensorBoardLogger):
            shutil.rmtree(self.logger.log_dir, ignore_errors=True)
        elif isinstance(self.logger, MLFlowLogger):
            self.logger.experiment.delete_run(self.logger.run_id)

    def _show(self, path: Path, step: int) -> None:
        if isinstance(self.logger, MLFlowLogger):
            self.logger.experiment.log_artifact(self.logger.run_id, str(path), PICTURES.rstrip("/"))
        elif isinstance(self.logger, TensorBoardLogger) and path.suffix == ".png":
            import numpy as np
            from PIL import Image

            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            self.logger.experiment.add_image(f"{PICTURES}{path.stem}", pixels, step, dataformats="HWC")


def logger_settings(node: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Settings of a logger, with those that the job decides where the config says null.

    ``save_dir`` is the job's folder; of MLflow, whose store holds many runs, the folder ``mlruns`` of the sweep. MLflow
    also takes the job's name, its method, data and sweep as tags, and the address that ``MLFLOW_TRACKING_URI`` names.

    Args:
        node: The config of the logger, with its ``_target_``.
        job: The job.
    """
    settings = dict(node)
    if str(node.get("_target_")).endswith(".MLFlowLogger"):
        for name, value in _MLFLOW.items():
            os.environ.setdefault(name, value)
        if settings.get("tracking_uri") is None:
            settings.pop("tracking_uri", None)
        settings["save_dir"] = settings.get("save_dir") or str((job.sweep or job.folder).absolute() / "mlruns")
        settings["run_name"] = settings.get("run_name") or job.name
        own = {"method": job.choices.get("method"), "data": job.choices.get("data"), "folder": str(job.folder)}
        sweep = {"sweep": job.sweep.name} if job.sweep else {}
        settings["tags"] = {**own, **sweep, **(settings.get("tags") or {})}
    elif "save_dir" in node and node["save_dir"] is None:
        settings["save_dir"] = str(job.folder)
    return settings


def _place(name: str) -> int:
    # TensorBoard's table shows the first ones.
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _is_number(result: Mapping[str, Any], name: str) -> bool:
    value = result[name]
    return name not in _SETTINGS and isinstance(value, int | float) and not isinstance(value, bool)
