"""What the files of offline W&B runs say, of eckart's and of any other program's."""

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError

from eckart.printable import printable
from eckart.results.result import natural_order
from eckart.tracking.columns import Columns
from eckart.tracking.items import NAMES, cleaned, cleaned_name, leaves
from eckart.tracking.log_file import RecordLog
from eckart.tracking.messages import Record
from eckart.tracking.run_files import config_beside, images, inside, summary_beside
from eckart.tracking.tree import Tree

_NAME = re.compile(r"run-.+\.wandb")
# W&B writes below ``.wandb`` where there is such a folder.
_STAGE = ".wandb"
_IDENTITY = {
    "id": "run_id",
    "name": "display_name",
    "project": "project",
    "entity": "entity",
    "group": "run_group",
    "job_type": "job_type",
    "notes": "notes",
    "host": "host",
}


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
        history: Numbers logged, by name: steps and values, which may be NaN or infinite.
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
    reading = _Reading()
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        log = RecordLog(file)
        for content in log.records():
            reading.take(content)
    return reading.finished(path, _problems(log, size))


def _opened(path: Path) -> BinaryIO:
    # To open a pipe would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"The file of a W&B run must be a regular file. Found {printable(path)}.")
    return os.fdopen(descriptor, "rb")


def _problems(log: RecordLog, size: int) -> list[str]:
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


class _Reading:
    """What the records of a file say, one after the other."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.summary, self.config = Tree(), Tree()
        self.identity: dict[str, str] = {}
        self.tags: tuple[str, ...] = ()
        self.exit_code: int | None = None
        self.unread = 0
        self.row: list[bytes] = []
        self.step: int | None = None

    def take(self, content: bytes) -> None:
        try:
            record = Record.FromString(content)
        except DecodeError:
            self.unread += 1
            return
        if record.HasField("history"):
            self.columns.add(record.history.item, _step(record.history))
        elif record.HasField("summary"):
            self._change(self.summary, record.summary)
        elif record.HasField("config"):
            self._change(self.config, record.config)
        elif record.HasField("run"):
            self._take_run(record.run)
        elif record.HasField("metric"):
            name = record.metric.name or record.metric.glob_name
            self.columns.define(cleaned_name(name), cleaned_name(record.metric.step_metric))
        elif record.HasField("exit"):
            self.exit_code = record.exit.exit_code
        elif record.HasField("request") and record.request.HasField("partial_history"):
            self._take_part(record.request.partial_history)

    def finished(self, path: Path, problems: list[str]) -> OfflineRun:
        self._end_row()
        files = path.parent / "files"
        config = self.config.finished() or config_beside(files)
        summary = self.summary.finished() or summary_beside(files)
        history, axes = self.columns.finished()
        flat = sorted(itertools.islice(leaves(summary), NAMES + 1), key=lambda leaf: leaf[0])
        unread = self.unread + self.summary.unread + self.config.unread
        if unread:
            many = "a record or value" if unread == 1 else f"{unread} records or values"
            problems.append(f"{many} could not be decoded")
        if self.columns.full or len(flat) > NAMES:
            problems.append(f"only the first {NAMES} names of its history and summary are kept")
        line = "; ".join(problems)
        return OfflineRun(
            path=path,
            identity={"id": path.stem.removeprefix("run-"), **self.identity},
            tags=self.tags,
            config=config,
            history=history,
            summary={"/".join(own): value for own, value in flat[:NAMES] if not isinstance(value, dict)},
            media=tuple(_media(files, self.columns.media, flat)),
            exit_code=self.exit_code,
            problem=f"{line[0].upper()}{line[1:]}." if line else None,
            axes=axes,
        )

    def _change(self, tree: Tree, record: Any) -> None:
        tree.update(record.update)
        if record.remove:
            tree.remove(record.remove)

    def _take_run(self, run: Any) -> None:
        self.identity |= {name: text for name, own in _IDENTITY.items() if (text := cleaned(_text(getattr(run, own))))}
        if run.HasField("start_time"):
            # Seconds beyond the year 9999 are no time.
            with contextlib.suppress(OverflowError, ValueError, OSError):
                self.identity["started"] = datetime.fromtimestamp(run.start_time.seconds, UTC).isoformat()
        if run.tags:
            self.tags = tuple(cleaned_name(tag) for tag in run.tags[:NAMES])
        self._change(self.config, run.config)
        self._change(self.summary, run.summary)

    def _take_part(self, part: Any) -> None:
        """Take a part of a row, which ends with a part that says so, or with one of another step."""
        step = _step(part)
        if step is not None and step != self.step:
            self._end_row()
            self.step = step
        self.row += part.item
        if part.action.flush or (step is None and not part.HasField("action")):
            self._end_row()

    def _end_row(self) -> None:
        if self.row:
            self.columns.add(self.row, self.step)
        self.row, self.step = [], None


def _step(record: Any) -> int | None:
    return record.step.num if record.HasField("step") else None


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _media(
    files: Path, logged: Sequence[tuple[int, str, Mapping[str, Any]]], summary: Sequence[tuple[tuple[str, ...], Any]]
) -> Iterator[Media]:
    keys = {key for _, key, _ in logged}
    last = [(None, "/".join(path), value) for path, value in summary if isinstance(value, dict)]
    for step, key, value in [*logged, *(own for own in last if own[1] not in keys)]:
        for name, caption in images(value):
            path = inside(files, name)
            if path is not None:
                yield Media(key, step, path, caption)
