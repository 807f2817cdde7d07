"""What W&B has written of a run that was offline, read without W&B's own reader."""

import contextlib
import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto import wandb_internal_pb2

_FILE_HEADER, _HEADER, _BLOCK = 7, 7, 32 * 1024
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class WandbRun(NamedTuple):
    """What the record of a run says: who it is, its config, history, summary and how it ended.

    ``metrics`` holds for each name that was defined its axis and what the summary takes of it.
    """

    name: str
    group: str
    project: str
    tags: list[str]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    job_type: str
    notes: str
    metrics: dict[str, tuple[str, list[str]]]


def read_run(path: Path) -> WandbRun:
    """Read a ``run-*.wandb`` file, once W&B's own process has written how the run ended, or after five seconds."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        with contextlib.suppress(AssertionError):
            if (run := _read(path)).exit_code is not None:
                return run
        time.sleep(0.02)
    return _read(path)


def _read(path: Path) -> WandbRun:
    name = group = project = job_type = notes = ""
    tags: list[str] = []
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    exit_code = None
    metrics: dict[str, tuple[str, list[str]]] = {}
    for payload in _payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(payload)  # type: ignore[attr-defined]
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name, group, project = record.run.display_name, record.run.run_group, record.run.project
            job_type, notes, tags = record.run.job_type, record.run.notes, list(record.run.tags)
            config |= _items(record.run.config.update)
        elif kind == "config":
            config |= _items(record.config.update)
        elif kind == "history":
            history.append(_items(record.history.item))
        elif kind == "summary":
            summary |= _items(record.summary.update)
        elif kind == "metric":
            taken = [kind.name for kind, _ in record.metric.summary.ListFields()]
            metrics[record.metric.name or record.metric.glob_name] = (record.metric.step_metric, taken)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    return WandbRun(name, group, project, tags, config, history, summary, exit_code, job_type, notes, metrics)


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _payloads(content: bytes) -> Iterator[bytes]:
    assert content[:4] == b":W&B"
    position, parts = _FILE_HEADER, b""
    while position + _HEADER <= len(content):
        room = _BLOCK - position % _BLOCK
        if room < _HEADER:
            position += room
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, position)
        data = content[position + _HEADER : position + _HEADER + length]
        assert zlib.crc32(bytes([kind]) + data) == checksum, "damaged record"
        position += _HEADER + length
        assert bool(parts) == (kind in (_MIDDLE, _LAST)), "records out of order"
        parts += data
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""
    assert not parts, "cut off record"
