"""What the files of offline W&B runs say, of eckart's and of any other program's."""

import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from eckart.printable import printable
from eckart.results.result import natural_order
from eckart.tracking.items import NAMES, joined, leaves
from eckart.tracking.log_file import RecordLog
from eckart.tracking.run_files import config_beside, images, inside, summary_beside
from eckart.tracking.run_records import RunRecords

_NAME = re.compile(r"run-.+\.wandb")
# W&B writes below ``.wandb`` where there is such a folder.
_STAGE = ".wandb"
_MEDIA = 5_000


@dataclass(frozen=True)
class Media:
    """A file that a run logged.

    Attributes:
        key: The name that it was logged under.
        step: The step that it was logged at; None if it is only in the summary.
        path: The file, inside the run's folder.
        caption: Its caption; empty if it has none.
    """

    key: str
    step: int | None
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class OfflineRun:
    """What one ``run-ID.wandb`` file says; of a damaged or truncated file, all that is whole.

    Attributes:
        path: The file.
        identity: Texts ``id``, ``name``, ``project``, ``entity``, ``group``, ``job_type``, ``notes``, ``started`` and
            ``host``, as far as the run has them.
        tags: Its tags.
        config: Its config, nested, without what W&B adds of its own.
        history: Numbers logged, by name: steps and values, which may be NaN or infinite; without what the program
            hides.
        summary: Its last values, nested names joined by a slash; W&B's own ``_step``, ``_runtime`` and ``_timestamp``
            are among them.
        media: Images that it logged.
        exit_code: How it ended; None if the file does not say.
        problem: One line on what could not be read; None if the file is whole.
        axes: Names of the quantities that stand in place of the steps, where the program has defined one.
    """

    path: Path
    identity: Mapping[str, str]
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    history: Mapping[str, tuple[list[float], list[float]]]
    summary: Mapping[str, Any]
    media: tuple[Media, ...]
    exit_code: int | None
    problem: str | None
    axes: Mapping[str, str] = field(default_factory=dict)


def find_offline_runs(folder: Path) -> list[Path]:
    """Every ``run-ID.wandb`` below a folder, in natural order.

    Links are not followed, so that no run is found twice; hidden folders are skipped.

    Raises:
        NotADirectoryError: If it is no folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"W&B runs are looked for in a folder. Found {printable(folder)}.")
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".") or name == _STAGE]
        paths = [Path(place, name) for name in names if _NAME.fullmatch(name)]
        found += [path for path in paths if not path.is_symlink() and path.is_file()]
    return sorted(found, key=natural_order)


def read_offline_run(path: Path) -> OfflineRun:
    """Read what a ``run-ID.wandb`` file and the files of its run's folder say.

    Whatever is in the file, this gives what is whole, and says in ``problem`` what is not. Long texts and lists are
    cut, and so are nested values that are too deep, as :func:`eckart.tracking.items.cleaned` says.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a regular file.
    """
    run = RunRecords()
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        log = RecordLog(file)
        for content in log.records():
            run.take(content)
    files = path.parent / "files"
    config = run.config.finished() or config_beside(files)
    summary = run.summary.finished() or summary_beside(files)
    history, axes = run.columns.finished()
    leaf = sorted(itertools.islice(leaves(summary), NAMES + 1), key=lambda named: named[0])
    shown = list(itertools.islice(_images(run.columns.media, leaf), _MEDIA + 1))
    problems = [*_damage(log, size), *_left_out(run, len(leaf) > NAMES, len(shown) > _MEDIA)]
    line = "; ".join(problems)
    return OfflineRun(
        path=path,
        identity={"id": path.stem.removeprefix("run-"), **run.identity},
        tags=run.tags,
        config=config,
        history=history,
        summary={joined(own): value for own, value in leaf[:NAMES] if not isinstance(value, dict)},
        media=tuple(_media(files, shown[:_MEDIA])),
        exit_code=run.exit_code,
        problem=f"{line[0].upper()}{line[1:]}." if line else None,
        axes=axes,
    )


def _opened(path: Path) -> BinaryIO:
    # To open a pipe would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"The file of a W&B run must be a regular file. Found {printable(path)}.")
    return os.fdopen(descriptor, "rb")


def _damage(log: RecordLog, size: int) -> list[str]:
    if not size:
        return ["it is empty"]
    if log.foreign:
        return ["it is no file of W&B"]
    found = []
    if log.skipped:
        found.append("a damaged part was skipped" if log.skipped == 1 else f"{log.skipped} damaged parts were skipped")
    if log.cut:
        found.append("its end is cut off or damaged")
    return found


def _left_out(run: RunRecords, names: bool, pictures: bool) -> list[str]:
    found = []
    if unread := run.unread + run.summary.unread + run.config.unread:
        found.append(f"{'a record or value' if unread == 1 else f'{unread} records or values'} could not be decoded")
    if names or run.columns.full:
        found.append(f"only the first {NAMES} names of its history and summary are kept")
    if pictures:
        found.append(f"only the first {_MEDIA} images are kept")
    return found


def _images(
    logged: Sequence[tuple[int, str, Mapping[str, Any]]], summary: Sequence[tuple[tuple[str, ...], Any]]
) -> Iterator[tuple[str, int | None, str, str]]:
    """Key, step, file and caption of each image; those that only the summary has come last."""
    keys = {key for _, key, _ in logged}
    last = [(None, joined(path), value) for path, value in summary if isinstance(value, dict)]
    for step, key, value in [*logged, *(own for own in last if own[1] not in keys)]:
        for name, caption in images(value):
            yield key, step, name, caption


def _media(files: Path, shown: Sequence[tuple[str, int | None, str, str]]) -> Iterator[Media]:
    for key, step, name, caption in shown:
        if (path := inside(files, name)) is not None:
            yield Media(key, step, path, caption)
