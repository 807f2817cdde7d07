"""benchmarks.json: all that was measured, a record for each case."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eckart.benchmarks.case import Case, Point
from eckart.benchmarks.lines import Line, line_of
from eckart.results.atomic import replacing

FILE = "benchmarks.json"


@dataclass(frozen=True)
class Verdict:
    """A goal and what was found.

    Attributes:
        text: The goal.
        value: The quantity that it bounds; None if it could not be found.
        unit: What stands behind the value.
        reached: Whether the bound holds; None if it could not be found.
    """

    text: str
    value: float | None
    unit: str
    reached: bool | None


@dataclass(frozen=True)
class Record:
    """What was measured of a case, and when.

    Attributes:
        name: Name of the case.
        group: Name of its group.
        title: Title of the case.
        accuracy: Which error is compared.
        lines: Ours first.
        left_out: Contenders that are not installed.
        verdicts: Its goals.
        note: What bounds the result.
        point: Its place in a plot.
        measured: Date, machine, versions, command, threads and whether the sizes were small.
    """

    name: str
    group: str
    title: str
    accuracy: str
    lines: Sequence[Line]
    left_out: Sequence[str]
    verdicts: Sequence[Verdict]
    note: str = ""
    point: Point | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


def recorded(
    group: str, case: Case, lines: Sequence[Line], left_out: Sequence[str], measured: Mapping[str, Any]
) -> Record:
    """The record of a case that was measured just now, with the verdicts on its goals."""
    verdicts = []
    for goal in case.goals:
        found = goal.check(lines)
        value, reached = (None, None) if found is None else (found.value, found.reached)
        verdicts.append(Verdict(goal.text, value, goal.unit, reached))
    return Record(
        case.name, group, case.title, case.accuracy, lines, left_out, verdicts, case.note, case.point, measured
    )


def read(folder: Path) -> dict[str, Record]:
    """Records by the names of their cases; none if there is no file.

    Raises:
        ValueError: If the file is not one of the benchmark.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return {name: _record(plain) for name, plain in json.loads(path.read_text(encoding="utf-8")).items()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} must be a file that the benchmark wrote. Found: {error}") from error


def write(folder: Path, records: Mapping[str, Record]) -> None:
    """Write all records; the file is the old one or the new one at each moment."""
    plain = {name: asdict(record) for name, record in records.items()}
    with replacing(folder / FILE) as partial:
        partial.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _record(plain: dict[str, Any]) -> Record:
    parts = {
        "lines": [line_of(line) for line in plain["lines"]],
        "verdicts": [Verdict(**verdict) for verdict in plain["verdicts"]],
        "point": plain["point"] and Point(**plain["point"]),
    }
    return Record(**(plain | parts))
