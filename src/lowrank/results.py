"""What a run leaves on disk, written and read back."""

import csv
import functools
import hashlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowrank.atomic import replacing

RESULT = "result.json"
HISTORY = "history.csv"
FACTORS = "factors.safetensors"
CHECKPOINT = "last.ckpt"
FIGURES = "figures"

_EMPTY: dict[str, Any] = dict.fromkeys(
    [
        "status",
        "error",
        "method",
        "data",
        "rank",
        "seed",
        "shape",
        "loss",
        "relative_2norm",
        "relative_frobenius",
        "optimum_2norm",
        "optimum_frobenius",
        "excess_2norm",
        "excess_frobenius",
        "relative_observed",
        "relative_held_out",
        "largest_output_difference",
        "numerical_rank",
        "target_rank",
        "parameters",
        "dense_parameters",
        "steps",
        "stop_reason",
        "fit_seconds",
        "total_seconds",
        "accuracy",
        "train_loss_sum_per_epoch",
        "wandb_run",
        "fingerprint",
        "config",
        "versions",
    ]
)
_DECIDING = ("method", "data", "optimizer", "schedule", "rank", "seed", "ckpt")


def write_result(folder: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``result.json``: every field of the contract, null where a method has no meaning for it, and any others.

    Numbers that are not finite are written as null, since JSON has none. The file is whole or not there.

    Args:
        folder: The run's folder.
        figures: Values by field.

    Returns:
        The result as it was written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_result(Path(folder), {"status": "completed", "rank": 2, "loss": math.nan})
        ...     result = read_result(Path(folder))
        >>> result["status"], result["rank"], result["loss"]
        ('completed', 2, None)
    """
    result = {field: _plain(value) for field, value in (_EMPTY | dict(figures)).items()}
    with replacing(folder / RESULT) as partial:
        partial.write_text(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """Read the ``result.json`` of a run's folder.

    Raises:
        FileNotFoundError: If the run has not ended.
    """
    result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return result


def fingerprint(config: Mapping[str, Any]) -> str:
    """Hash of the part of a resolved config that decides the result, and of the version that computes it.

    Loggers, folders and progress bars do not count; numbers do, whether written as 1 or 1.0.

    Example:
        >>> fingerprint({"rank": 2, "name": "a"}) == fingerprint({"rank": 2, "name": "b"})
        True
        >>> fingerprint({"rank": 2}) == fingerprint({"rank": 3})
        False
    """
    deciding = {key: config.get(key) for key in _DECIDING}
    deciding["precision"] = config.get("trainer", {}).get("precision")
    text = json.dumps([_numbers(deciding), versions()["lowrank"]], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    installed = {name: importlib.metadata.version(name) for name in ("torch", "lowrank")}
    return {"python": platform.python_version(), **installed}


class History:
    """Figures of a run as it went on: one row a measurement, in memory and, given a file, in ``history.csv``.

    Each row is on disk as soon as it is added, so a run that dies leaves what it had measured.

    Args:
        path: The CSV file; None keeps the rows in memory alone.

    Example:
        >>> history = History(None)
        >>> history.add(0, {"train/loss": 4.0})
        >>> history.add(10, {"train/loss": 1.0})
        >>> history.column("train/loss")
        ([0, 10], [4.0, 1.0])
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows = path, []
        self._columns: list[str] = []

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one row."""
        row: dict[str, float] = {"step": step, **figures}
        self.rows.append(row)
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if self.path is None:
            return
        if new:
            with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(self.rows)
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Steps at which a figure was measured, and its values."""
        measured = [row for row in self.rows if row.get(name) is not None]
        return [row["step"] for row in measured], [row[name] for row in measured]

    rows: list[dict[str, float]]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
