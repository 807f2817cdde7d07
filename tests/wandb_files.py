"""Files as W&B's client writes them, from its own messages, without its processes."""

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from wandb.proto import wandb_internal_pb2 as wandb_messages

HEADER = b":W&B\xe1\xbe\x00"
_BLOCK = 32 * 1024


def log_file(records: Iterable[bytes]) -> bytes:
    """A file of records, in chunks of at most a block."""
    content = bytearray(HEADER)
    for record in records:
        rest, first = record, True
        while first or rest:
            room = _BLOCK - len(content) % _BLOCK
            if room < 7:
                content += bytes(room)
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, False): 1, (True, True): 2, (False, True): 3, (False, False): 4}[first, bool(rest)]
            content += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return bytes(content)


def record(**fields: Any) -> Any:
    """A record of the client: ``record(exit={"exit_code": 1})``."""
    return wandb_messages.Record(**fields)  # type: ignore[attr-defined]


def items(values: Mapping[str | tuple[str, ...], Any]) -> list[dict[str, Any]]:
    """Items of a history, config or summary; a tuple names what is nested, and bytes are JSON already."""
    return [
        {
            **({"nested_key": list(name)} if isinstance(name, tuple) else {"key": name}),
            "value_json": value.decode() if isinstance(value, bytes) else json.dumps(value),
        }
        for name, value in values.items()
    ]


def row(step: int, values: Mapping[Any, Any]) -> bytes:
    """A row of a history, as client 0.31 writes it: every name is a path."""
    named = {(name,) if isinstance(name, str) else name: value for name, value in values.items()}
    own = {("_step",): step, ("_runtime",): 0.5 * step, ("_timestamp",): 1.7e9 + step}
    return record(history={"item": items(named | own), "step": {"num": step}}).SerializeToString()


def run(config: Mapping[Any, Any] | None = None, **fields: Any) -> bytes:
    """What a run begins with."""
    whole = {"run_id": "abc", "project": "p", "config": {"update": items({"_wandb": {}, **(config or {})})}} | fields
    return record(run=whole).SerializeToString()


def config(**changes: Mapping[Any, Any]) -> bytes:
    """A change of the config: ``update`` or ``remove``."""
    return record(config={how: items(values) for how, values in changes.items()}).SerializeToString()


def summary(**changes: Mapping[Any, Any]) -> bytes:
    """A change of the summary: ``update`` or ``remove``."""
    return record(summary={how: items(values) for how, values in changes.items()}).SerializeToString()


def metric(**fields: Any) -> bytes:
    """What ``define_metric`` leaves."""
    return record(metric=fields).SerializeToString()


def end(code: int) -> bytes:
    """What a run ends with."""
    return record(exit={"exit_code": code}).SerializeToString()
