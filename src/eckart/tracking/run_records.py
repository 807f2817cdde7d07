"""The records of a W&B run, taken one after the other."""

import contextlib
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError

from eckart.tracking.columns import Columns
from eckart.tracking.items import cleaned, cleaned_name
from eckart.tracking.messages import Record
from eckart.tracking.tree import Tree

_TAGS = 1_000
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


class RunRecords:
    """What the records of a run say.

    Attributes:
        columns: Its history.
        summary: Its summary.
        config: Its config.
        identity: Texts that name it, where it came from and when it began.
        tags: Its tags.
        exit_code: How it ended; None if no record says so.
        unread: Records that are no messages of W&B, which are left out.
    """

    def __init__(self) -> None:
        self.columns = Columns()
        self.summary, self.config = Tree(), Tree()
        self.identity: dict[str, str] = {}
        self.tags: tuple[str, ...] = ()
        self.exit_code: int | None = None
        self.unread = 0
        self._open: int | None = None

    def take(self, content: bytes) -> None:
        """Take a record, as a file has it."""
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
            metric = record.metric
            names = cleaned_name(metric.name or metric.glob_name), cleaned_name(metric.step_metric)
            self.columns.define(*names, hidden=metric.options.hidden)
        elif record.HasField("exit"):
            self.exit_code = record.exit.exit_code
        elif record.HasField("request") and record.request.HasField("partial_history"):
            self._take_part(record.request.partial_history)

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
            self.tags = tuple(cleaned_name(tag) for tag in run.tags[:_TAGS])
        self._change(self.config, run.config)
        self._change(self.summary, run.summary)

    def _take_part(self, part: Any) -> None:
        """Take a part of a row; one without a step belongs to the row that is not ended yet, or begins the next."""
        given = _step(part)
        self.columns.add(part.item, self._open if given is None else given)
        ended = part.action.flush or (given is None and not part.HasField("action"))
        self._open = None if ended else self.columns.step


def _step(record: Any) -> int | None:
    return record.step.num if record.HasField("step") else None


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
