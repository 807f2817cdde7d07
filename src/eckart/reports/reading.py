"""Folders as records: runs of eckart, and runs of any program that left W&B files."""

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eckart.errors import one_line
from eckart.printable import printable
from eckart.reports import commands, curves
from eckart.reports.record import Record
from eckart.results.result import RESULT, read_results
from eckart.results.settings import AUTO, LEADING, decides, flatten, settings
from eckart.tracking import offline
from eckart.tracking.offline import OfflineRun

_OURS = {"relative_frobenius", "relative_2norm"}
"""Fields that the summary of a run of eckart has."""
_CONFIG = (".hydra", "config.yaml")


@dataclass(frozen=True)
class Found:
    """What is below folders.

    Attributes:
        records: The runs, those of eckart first.
        problems: A line on each file that could not be read.
        commands: The commands that started the sweeps and single runs, without repetition.
    """

    records: tuple[Record, ...]
    problems: tuple[str, ...] = ()
    commands: tuple[str, ...] = field(default=())


def read(folders: Sequence[Path]) -> Found:
    """Find the runs below folders; their curves are read later, by :func:`with_curves`.

    An offline W&B run that a result of eckart names is that result's, and no run of its own.

    Args:
        folders: Of runs, sweeps, or many sweeps, or of W&B.

    Raises:
        FileNotFoundError: If a folder does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
    problems: list[str] = []
    results = _results(folders, problems)
    records = [_of_result(folder, result) for folder, result in results.items()]
    begun = [folder for folder in _folders(folders) if (folder / Path(*_CONFIG)).is_file()]
    ended = {os.path.realpath(folder) for folder in results}
    records += [_begun(folder) for folder in begun if os.path.realpath(folder) not in ended]
    records += _of_wandb(folders, records, problems)
    return Found(tuple(records), tuple(problems), tuple(commands.found(folders, begun)))


def with_curves(records: Iterable[Record], problems: list[str]) -> Iterator[Record]:
    """The records with their history; a line is added to ``problems`` for each that cannot be read."""
    for record in records:
        if not record.has_folder or record.history:
            yield record
            continue
        try:
            yield replace(record, history=curves.read(record.path))
        except (OSError, ValueError) as error:
            problems.append(f"{record.folder}: {one_line(error)}")
            yield record


def _results(folders: Sequence[Path], problems: list[str]) -> dict[Path, dict[str, Any]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            results = read_results(*folders)
        except FileNotFoundError:
            results = {}
    problems += [printable(warning.message) for warning in caught]
    return results


def _folders(folders: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for folder in folders:
        for path, inner, _ in os.walk(folder):
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name != "wandb")
            if (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                yield Path(path)


def _of_result(folder: Path, result: Mapping[str, Any]) -> Record:
    status = result["status"] if result["status"] in ("completed", "failed", "diverged") else "unfinished"
    return Record(
        name=folder.resolve().name,
        folder=str(folder),
        program="eckart",
        status=status,
        error=printable(result["error"]) if result.get("error") else None,
        fields=result,
        settings=settings(result),
        history={},
        link=result.get("wandb_run"),
        has_folder=True,
    )


def _begun(folder: Path) -> Record:
    """A run that began and left no result: it is still running, or was killed."""
    config = commands.loaded(folder.joinpath(*_CONFIG))
    chosen = dict(word.split("=", 1) for word in commands.overrides(folder) if "=" in word)
    fields = {name: config.get(name) for name in ("rank", "seed")}
    fields |= {"method": chosen.get("method"), "data": chosen.get("data"), "config": config}
    fields = {name: value if _fits(name, value) else None for name, value in fields.items()}
    return Record(
        name=folder.resolve().name,
        folder=str(folder),
        program="eckart",
        status="unfinished",
        error=f"there is no {RESULT}: it runs, or it was killed",
        fields=fields,
        settings=settings(fields),
        history={},
        link=None,
        has_folder=True,
    )


def _of_wandb(folders: Sequence[Path], records: Sequence[Record], problems: list[str]) -> list[Record]:
    known = {Path(record.link).name for record in records if record.link}
    # Without a config nothing says whose attempt a run was.
    jobs = {_job(record.fields.get("config")) for record in records} - {_job({})}
    found: dict[str, Path] = {}
    for folder in folders:
        for path in offline.find_offline_runs(folder):
            found.setdefault(os.path.realpath(path), path)
    read = []
    for path in found.values():
        if path.parent.name in known:
            continue
        try:
            run = offline.read_offline_run(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {one_line(error)}")
            continue
        if run.problem:
            problems.append(f"{path}: {printable(run.problem)}")
        if run.problem and not (run.config or run.history or run.summary):
            continue
        # A job that failed, was interrupted, or was trained again has a result that does not name its earlier W&B run.
        if _job(_config(run.config)) not in jobs:
            read.append(of_offline(run))
    return read


def of_offline(run: OfflineRun) -> Record:
    """The record of an offline W&B run; one that eckart wrote becomes a run of eckart."""
    config = _config(run.config)
    choices = run.config.get("choices")
    choices = choices if isinstance(choices, Mapping) else {}
    ours = bool(run.summary.keys() & _OURS) and {"method", "data", "rank"} <= config.keys()
    fields: dict[str, Any] = dict(run.summary)
    if ours:
        given = {name: fields.get(name, choices.get(name, config.get(name))) for name in LEADING}
        fields |= {name: value if _fits(name, value) else None for name, value in given.items()} | {"config": config}
    said = fields.get("status") if ours else None
    ended = {0: "completed", None: "unfinished"}.get(run.exit_code, "failed")
    status = said if said in ("completed", "failed", "diverged") else ended
    error = fields.get("error") if ours else None
    return Record(
        name=printable(run.identity.get("name") or run.identity.get("id") or run.path.parent.name),
        folder=str(run.path.parent),
        program="eckart" if ours else "wandb",
        status=status,
        error=printable(error or run.problem) if error or run.problem else None,
        fields=fields,
        settings=settings(fields) if ours else flatten(run.config),
        history={name: curves.thinned(*curve, even=not ours) for name, curve in run.history.items()},
        link=str(run.path.parent),
        identity=run.identity,
        tags=run.tags,
        media=run.media,
        axes=run.axes,
    )


def _job(config: Mapping[str, Any] | None) -> str:
    """The settings that decide a result, as one text."""
    # Where a rule chose the rank, W&B has the number and a result the word.
    asked = dict(config or {}) | ({"rank": AUTO} if (config or {}).get("selection") else {})
    return repr(sorted((name, value) for name, value in flatten(asked).items() if decides(name)))


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "choices"}


def _fits(name: str, value: Any) -> bool:
    kinds: dict[str, type] = {"rank": int, "seed": int, "method": str, "data": str, "config": dict}
    return type(value) is kinds[name] and not (isinstance(value, str) and re.search(r"[\[\](){},]", value))
