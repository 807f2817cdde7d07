"""What a run leaves on disk, written and read back."""

import itertools
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eckart.results import settings, tables
from eckart.results.atomic import replacing

if TYPE_CHECKING:
    import polars

RESULT = "result.json"
FACTORS = "factors.safetensors"
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
    "seed": int,
    "shape": list,
    "loss": float,
    "relative_2norm": float,
    "relative_frobenius": float,
    "optimum_2norm": float,
    "optimum_frobenius": float,
    "excess_2norm": float,
    "excess_frobenius": float,
    "relative_observed": float,
    "relative_held_out": float,
    "largest_output_difference": float,
    "numerical_rank": int,
    "target_rank": int,
    "parameters": int,
    "dense_parameters": int,
    "steps": int,
    "stop_reason": str,
    "fit_seconds": float,
    "total_seconds": float,
    "accuracy": float,
    "train_loss_sum_per_epoch": list,
    "wandb_run": str,
    "fingerprint": str,
    "config": dict,
    "versions": dict,
}


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
    result = {field: _plain(value) for field, value in (dict.fromkeys(FIELDS) | dict(figures)).items()}
    with replacing(folder / RESULT) as partial:
        partial.write_text(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """Read the ``result.json`` of a run's folder.

    Raises:
        FileNotFoundError: If the run has not ended.
        ValueError: If no run of this package wrote it, or not to its end.
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

    Hidden folders are skipped. A job is there once, though folders overlap. A ``result.json`` that cannot be read, or
    that no run of this package wrote, is left out with a warning.

    Args:
        folders: Where to look.

    Returns:
        Results by the folder of the job, as it is reached from the folder given, in natural order (rank=2 before
        rank=10).

    Raises:
        FileNotFoundError: If a folder is not there, or there is no result below any.
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
    for folder in sorted(found.values(), key=_natural):
        try:
            results[folder] = read_result(folder)
        except (OSError, ValueError) as error:
            warnings.warn(f"{folder / RESULT} is left out: {error}", stacklevel=2)
    if not results:
        raise FileNotFoundError(f"There is no result of a run below {' or '.join(map(str, folders))}.")
    return results


def load(*folders: str | Path) -> "polars.DataFrame":
    """All jobs of any number of sweeps as one tidy table, one row a job.

    The columns are, in this order:

    1. What tells the jobs apart: those of ``method``, ``data``, ``rank``, ``seed`` and the config's values, such as
       ``method.max_steps``, that vary, and neither come with the choice of another (as ``optimizer.betas`` with Adam)
       nor repeat one (as ``data.seed`` the seed).
    2. The fields of ``result.json``; ``shape`` as ``rows`` and ``cols``.
    3. ``folder``, the job's.
    4. All other values of the config, and of ``method``, ``data``, ``rank`` and ``seed``.

    A value that a job does not have is null. Lists of numbers or of texts are list columns. Values of more than one
    type are text: that of a text as it is, JSON of all others.

    Args:
        folders: As in ``read_results``, which also says which results are left out.

    Raises:
        FileNotFoundError: If a folder is not there, or there is no result below any.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for seed, steps in enumerate([7, 9]):
        ...         job = {"method": "svd", "data": "lab", "rank": 2, "seed": seed, "config": {"data": {"seed": seed}}}
        ...         _ = write_result(Path(folder, f"seed={seed}"), job | {"steps": steps})
        ...     table = load(folder)
        >>> table["seed"].to_list(), table["steps"].to_list(), table.columns[0], table.columns[-1]
        ([0, 1], [7, 9], 'seed', 'data.seed')
    """
    results = read_results(*folders)
    jobs = [settings.settings(result) for result in results.values()]
    fields = [settings.flatten(_fields(result)) for result in results.values()]
    first = settings.differing(jobs)
    columns = {name: [job.get(name) for job in jobs] for name in first}
    columns |= {name: [row.get(name) for row in fields] for name in dict.fromkeys(itertools.chain(*fields))}
    columns["folder"] = [str(folder) for folder in results]
    for name in settings.names(jobs):
        columns.setdefault(name, [job.get(name) for job in jobs])
    return tables.data_frame(columns, FIELDS | {"rows": int, "cols": int})


def _unreadable(error: OSError) -> None:
    warnings.warn(f"{error.filename} is left out: {error.strerror}", stacklevel=2)


def _natural(path: Path) -> list[tuple[str, int, str]]:
    # Text and numbers take turns, so that no two of different kind are compared.
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


def _fields(result: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in result.items():
        if name == "shape":
            fields["rows"], fields["cols"] = value or (None, None)
        elif name not in (*settings.IDENTITY, "config"):
            fields[name] = value
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
