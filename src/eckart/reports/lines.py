"""Runs as lines of plots: one for each method and the settings that differ, over ranks, with the seeds of each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eckart.printable import printable
from eckart.reports.record import Record
from eckart.results.aggregate import Group, grouped
from eckart.results.nets import is_net
from eckart.results.numbers import NONE

_COLORS = 7
# Settings that no label of a line says: those of the data tell panels apart, and a rule's rank is marked on the line.
_ELSEWHERE = ("data.", "selection.")


@dataclass(frozen=True)
class Point:
    """Runs of one rank that differ only in their seed."""

    rank: int
    runs: tuple[Record, ...]

    def values(self, name: str) -> list[float]:
        """Values of a field, of the runs that completed."""
        found = (run.number(name) for run in self.runs if run.status == "completed")
        return [value for value in found if value is not None]


@dataclass(frozen=True)
class Line:
    """Runs of one method and one choice of settings.

    Attributes:
        label: The method, and the settings that tell it from other lines.
        panel: The data, and the settings of the data that tell them from other data.
        method: The method.
        points: By rising rank. Runs with ``rank=auto`` are among them where all seeds of the line have that rank.
        chosen: Runs with ``rank=auto``, a point for each rank and each rule that chose it.
        nets: Runs of nets that have no rank: their layers have ranks of their own.
    """

    label: str
    panel: str
    method: str
    points: tuple[Point, ...]
    chosen: tuple[Point, ...] = ()
    nets: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Lines:
    """The lines of a page.

    Attributes:
        all: In the order of data, method and settings.
        panels: Names of the data, those with the most completed runs first.
        colors: The label that each line is colored by: its own, or its method where there are more than 7 lines.
        of_run: Place of the line of each run in ``all``, by the ``id`` of its fields.
    """

    all: tuple[Line, ...]
    panels: tuple[str, ...]
    colors: Mapping[str, str]
    of_run: Mapping[int, int] = field(repr=False)

    @property
    def domain(self) -> list[str]:
        """The labels that have a color, in the order of the lines."""
        return list(dict.fromkeys(self.colors[line.label] for line in self.all))

    def row(self, line: Line) -> dict[str, Any]:
        """What the rows of plots say of a line: its panel, its label, its color, and the size of its marks."""
        color = self.colors[line.label]
        size = max(40, round(150 * 0.65 ** self.domain.index(color)))
        return {"panel": line.panel, "line": line.label, "color": color, "size": size}

    def line(self, run: Record) -> Line | None:
        """The line that a run is part of; None for a run without a method, or that has no rank and is no net."""
        place = self.of_run.get(id(run.fields))
        return None if place is None else self.all[place]


def lines(records: Sequence[Record]) -> Lines:
    """Group runs of eckart, with :func:`eckart.results.aggregate.grouped`.

    Args:
        records: Runs; those of other programs, and those without a method, or with no rank that are no nets, are in no
            line.
    """
    runs = {id(record.fields): record for record in records if record.ours and _has_place(record)}
    groups = grouped(record.fields for record in runs.values())
    names = _telling(groups)
    found: dict[tuple[str, str, str], tuple[list[Point], list[Point]]] = {}
    nets: dict[tuple[str, str, str], list[Record]] = {}
    for group in groups:
        key = (_panel(group, groups), _label(group, names[group.method]), group.method)
        points, chosen = found.setdefault(key, ([], []))
        every_run = [runs[id(result)] for result in group.results]
        nets.setdefault(key, []).extend(run for run in every_run if run.fields.get("rank") is None)
        ranked = [run for run in every_run if run.fields.get("rank") is not None]
        (points if group.rank is not None else chosen).extend(_points(ranked))
    every = [
        Line(label, panel, method, _by_rank(points), _by_rank(chosen), tuple(nets[panel, label, method]))
        for (panel, label, method), (points, chosen) in found.items()
    ]
    every = [replace(line, points=_joined(line)) for line in every]
    counts: Counter[str] = Counter()
    for line in every:
        counts[line.panel] += sum(run.status == "completed" for run in _runs(line))
    labels = dict.fromkeys(line.label for line in every)
    colors = {line.label: line.label if len(labels) <= _COLORS else line.method for line in every}
    of_run = {id(run.fields): place for place, line in enumerate(every) for run in _runs(line)}
    return Lines(tuple(every), tuple(name for name, _ in counts.most_common()), colors, of_run)


def setting(name: str, value: Any) -> str:
    """A setting as a label says it.

    Example:
        >>> setting("optimizer._target_", "torch.optim.SGD"), setting("method.hidden", [8, 4])
        ('optimizer=SGD', 'hidden=[8,4]')
    """
    if name.endswith("._target_"):
        return f"{name.removesuffix('._target_')}={str(value).rpartition('.')[2]}"
    shown = str(value).replace(" ", "") if isinstance(value, list) else NONE if value is None else str(value)
    return printable(f"{name.rpartition('.')[2]}={shown}", 60)


def _points(runs: Iterable[Record]) -> list[Point]:
    """A point for each rank of runs, by rising rank."""
    by_rank: dict[int, list[Record]] = {}
    for run in runs:
        by_rank.setdefault(run.fields["rank"], []).append(run)
    return [Point(rank, tuple(by_rank[rank])) for rank in sorted(by_rank)]


def _by_rank(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: point.rank))


def _joined(line: Line) -> tuple[Point, ...]:
    """The points of a line, and those of chosen ranks that have the same seeds, so that their means compare."""
    wanted = {run.fields.get("seed") for point in line.points for run in point.runs}
    points = {point.rank: point for point in line.points}
    for point in line.chosen:
        # Two rules can have chosen one rank, with the same result.
        once = Point(point.rank, tuple({run.fields.get("seed"): run for run in point.runs}.values()))
        if not line.points or {run.fields.get("seed") for run in once.runs} == wanted:
            points.setdefault(point.rank, once)
    return tuple(points[rank] for rank in sorted(points))


def _runs(line: Line) -> Iterator[Record]:
    every = {id(run): run for point in (*line.points, *line.chosen) for run in point.runs}
    every |= {id(run): run for run in line.nets}
    yield from every.values()


def _has_place(record: Record) -> bool:
    placed = isinstance(record.fields.get("rank"), int) or is_net(record.fields)
    return isinstance(record.fields.get("method"), str) and placed


def _telling(groups: Sequence[Group]) -> dict[str, list[str]]:
    """For each method the settings that vary among its lines."""
    names: dict[str, list[str]] = {}
    for group in groups:
        alike = [other for other in groups if other.method == group.method] if group.method not in names else []
        names.setdefault(
            group.method,
            [
                name
                for name in group.settings
                if not name.startswith(_ELSEWHERE) and len({repr(other.settings[name]) for other in alike}) > 1
            ],
        )
    return names


def _label(group: Group, names: Sequence[str]) -> str:
    told = [setting(name, group.settings[name]) for name in names if group.settings[name] is not None]
    return ", ".join([printable(group.method, 60), *told])


def _panel(group: Group, groups: Sequence[Group]) -> str:
    told = [
        setting(name, value)
        for name, value in group.settings.items()
        if name.startswith("data.")
        and value is not None
        and len({repr(other.settings[name]) for other in groups if other.data == group.data}) > 1
    ]
    return ", ".join([printable(group.data or "no data", 60), *told])
