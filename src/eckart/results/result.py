"""The result of a run on disk: written, read back, and found below folders."""

import itertools
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eckart.results.atomic import replacing

RESULT = "result.json"
FACTORS = "factors.safetensors"
MODEL = "model.safetensors"
CHECKPOINT = "last.ckpt"
FIGURES = "figures"

# Levels of a result; a config has some five.
_DEEPEST = 50

FIELDS: dict[str, type] = {
    "status": str,
    "error": str,
    "method": str,
    "data": str,
    "rank": int,
    "rank_rule": str,
    "rank_reason": str,
    "rank_choices": dict,
    "budget": float,
    "seed": int,
    "shape": list,
    "loss": float,
    "relative_2norm": float,
    "relative_frobenius": float,
    "optimum_2norm": float,
    "optimum_frobenius": float,
    "optimum_2norm_bounds": list,
    "optimum_frobenius_bounds": list,
    "excess_2norm": float,
    "excess_frobenius": float,
    "excess_2norm_bounds": list,
    "excess_frobenius_bounds": list,
    "relative_observed": float,
    "relative_held_out": float,
    "rmse": float,
    "mae": float,
    "rating_range": list,
    "relative_withheld": float,
    "withheld": int,
    "verdict": str,
    "verdict_reason": str,
    "largest_output_difference": float,
    "measured": str,
    "images": int,
    "transpose_images": int,
    "numerical_rank": int,
    "target_rank": int,
    "parameters": int,
    "dense_parameters": int,
    "steps": int,
    "stop_reason": str,
    "solver": str,
    "fit_seconds": float,
    "total_seconds": float,
    "accuracy": float,
    "accuracy_dense": float,
    "accuracy_factorized": float,
    "validation_accuracy": float,
    "input_mean": float,
    "input_deviation": float,
    "multiply_adds": int,
    "dense_multiply_adds": int,
    "latency": dict,
    "layers": list,
    "train_loss_sum_per_epoch": list,
    "confusion": list,
    "wandb_run": str,
    "fingerprint": str,
    "config": dict,
    "versions": dict,
}


def whole(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of ``FIELDS``, None where it is not given, and any others.

    Numbers that are not finite become None, because JSON has no text for them.

    Example:
        >>> result = whole({"rank": 2, "loss": math.nan})
        >>> result["rank"], result["loss"], result["seed"]
        (2, None, None)
    """
    return {field: _plain(value) for field, value in (dict.fromkeys(FIELDS) | dict(fields)).items()}


def write_result(folder: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``result.json``, with :func:`whole` fields. The file is complete or absent.

    Args:
        folder: The run's folder.
        fields: Values by name.

    Returns:
        The result as it is in the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_result(Path(folder), {"status": "completed", "rank": 2, "loss": math.nan})
        ...     result = read_result(Path(folder))
        >>> result["status"], result["rank"], result["loss"]
        ('completed', 2, None)
    """
    result = whole(fields)
    with replacing(folder / RESULT) as partial:
        partial.write_text(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """Read the ``result.json`` of a run's folder.

    Raises:
        FileNotFoundError: If the run has not ended.
        ValueError: If it is not a complete result of this package.
    """
    path = folder / RESULT
    # To open a pipe would wait for ever.
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    try:
        return _check(json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_results(*folders: str | Path) -> dict[Path, dict[str, Any]]:
    """Read every result below folders: those of jobs, of sweeps, or of many sweeps.

    Hidden folders are skipped. Each job is read once, also where folders overlap. A ``result.json`` that cannot be
    read, or that is no result of this package, is left out with a warning.

    Args:
        folders: Where to look.

    Returns:
        Results by the folder of the job, as a path from the given folder, in natural order (rank=2 before rank=10).

    Raises:
        FileNotFoundError: If a folder does not exist, or none of them holds a result.
    """
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
        for path, inner, files in os.walk(folder, onerror=_unreadable):
            inner[:] = [name for name in inner if not name.startswith(".")]
            if RESULT in files:
                found.setdefault(os.path.realpath(path), Path(path))
    results = {}
    for folder in sorted(found.values(), key=natural_order):
        try:
            results[folder] = read_result(folder)
        except (OSError, ValueError) as error:
            warnings.warn(f"{folder / RESULT} is left out: {error}", stacklevel=2)
    if not results:
        raise FileNotFoundError(f"There is no result of a run below {' or '.join(map(str, folders))}.")
    return results


def _unreadable(error: OSError) -> None:
    warnings.warn(f"{error.filename} is left out: {error.strerror}", stacklevel=2)


def natural_order(path: Path) -> list[tuple[str, int, str]]:
    """Key that sorts paths as people read them.

    Example:
        >>> sorted([Path("rank=10"), Path("rank=2")], key=natural_order) == [Path("rank=2"), Path("rank=10")]
        True
    """
    # Texts and numbers alternate, so that no text is compared with a number.
    parts = re.split(r"(\d+)", str(path))
    return [
        (text, int(number or 0), number)
        for text, number in itertools.zip_longest(parts[::2], parts[1::2], fillvalue="")
    ]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check(result: Any) -> dict[str, Any]:
    ours = (
        isinstance(result, dict)
        and {"status", "fingerprint"} <= result.keys()
        and isinstance(result.get("config"), dict | None)
        and (result.get("shape") is None or (isinstance(result["shape"], list) and len(result["shape"]) == 2))
    )
    if not ours:
        raise ValueError("no run of eckart wrote it")
    for name, kind in FIELDS.items():
        value = result.get(name)
        if value is not None and not _is_a(value, kind):
            raise ValueError(f"its {name} is not of type {kind.__name__}")
    if _depth(result) > _DEEPEST:
        raise ValueError("it is nested too deep")
    return dict(result)


def _is_a(value: Any, kind: type) -> bool:
    if kind in (int, float):
        number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return number and abs(value) < (2**63 if isinstance(value, int) else math.inf)
    return isinstance(value, kind)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return depth


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
