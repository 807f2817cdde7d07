"""The part of W&B's protobuf messages that is read here.

They are declared anew, since to import W&B's package for its own takes half a second, and since here an item of a
history is taken as bytes, which are cheaper to read than a message.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_BYTES, _REPEATED, _INT64, _INT32, _BOOL = "bytes", "repeated bytes", "int64", "int32", "bool"
# Texts are bytes, since protobuf refuses a whole record for one wrong character.
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Record": {
        "history": (2, "HistoryRecord"),
        "summary": (3, "SummaryRecord"),
        "config": (5, "ConfigRecord"),
        "metric": (12, "MetricRecord"),
        "run": (17, "RunRecord"),
        "exit": (18, "RunExitRecord"),
        "request": (100, "Request"),
    },
    "HistoryRecord": {"item": (1, _REPEATED), "step": (2, "HistoryStep")},
    "HistoryStep": {"num": (1, _INT64)},
    "SummaryRecord": {"update": (1, _REPEATED), "remove": (2, _REPEATED)},
    "ConfigRecord": {"update": (1, _REPEATED), "remove": (2, _REPEATED)},
    "HistoryItem": {"key": (1, _BYTES), "nested_key": (2, _REPEATED), "value_json": (16, _BYTES)},
    "MetricRecord": {
        "name": (1, _BYTES),
        "glob_name": (2, _BYTES),
        "step_metric": (4, _BYTES),
        "options": (6, "MetricOptions"),
    },
    "MetricOptions": {"hidden": (2, _BOOL)},
    "RunRecord": {
        "run_id": (1, _BYTES),
        "entity": (2, _BYTES),
        "project": (3, _BYTES),
        "config": (4, "ConfigRecord"),
        "summary": (5, "SummaryRecord"),
        "run_group": (6, _BYTES),
        "job_type": (7, _BYTES),
        "display_name": (8, _BYTES),
        "notes": (9, _BYTES),
        "tags": (10, _REPEATED),
        "host": (13, _BYTES),
        "start_time": (17, "Timestamp"),
    },
    "Timestamp": {"seconds": (1, _INT64)},
    "RunExitRecord": {"exit_code": (1, _INT32)},
    "Request": {"partial_history": (10, "PartialHistoryRequest")},
    "PartialHistoryRequest": {"item": (1, _REPEATED), "step": (2, "HistoryStep"), "action": (3, "HistoryAction")},
    "HistoryAction": {"flush": (1, _BOOL)},
}
_TYPES = {
    _BYTES: FieldDescriptorProto.TYPE_BYTES,
    _REPEATED: FieldDescriptorProto.TYPE_BYTES,
    _INT64: FieldDescriptorProto.TYPE_INT64,
    _INT32: FieldDescriptorProto.TYPE_INT32,
    _BOOL: FieldDescriptorProto.TYPE_BOOL,
}
_PACKAGE = "eckart_wandb"


def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for own, (number, kind) in fields.items():
            many = FieldDescriptorProto.LABEL_REPEATED if kind == _REPEATED else FieldDescriptorProto.LABEL_OPTIONAL
            field = message.field.add(name=own, number=number, label=many)
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()
Record: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.Record"))
HistoryItem: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.HistoryItem"))
