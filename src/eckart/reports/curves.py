"""Curves of runs, with few enough points that a page can hold hundreds."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from eckart.reports.record import Curves, is_number
from eckart.results.history import HISTORY

POINTS = 60
"""Points that are kept of a curve at most."""
_LARGEST_FILE = 64 * 2**20


def read(folder: Path) -> Curves:
    """The thinned curves of a run's ``history.csv``, up to the first row that is not whole; none without the file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no file of this package.
    """
    path = folder / HISTORY
    # To open a pipe would wait for ever.
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{HISTORY} is larger than {_LARGEST_FILE // 2**20} MiB")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # What follows the last line break was cut off where the process was killed.
    lines.pop()
    names = next(csv.reader(lines[:1]), [])
    if not lines or "step" not in names:
        raise ValueError(f"{HISTORY} has no column step")
    place = names.index("step")
    rows = []
    for line in lines[1:]:
        row = line.rstrip("\r").split(",")
        if len(row) != len(names) or not row[place].isdecimal():
            break
        rows.append(row)
    curves, chosen = {}, _Chosen(rows, place)
    for column, name in enumerate(names):
        if column != place:
            points = [(row, value) for row in chosen.of(column) if is_number(value := _number(row[column]))]
            curves[name] = [float(row[place]) for row, _ in points], [_short(value) for _, value in points]
    return curves


def thinned(
    steps: Sequence[float], values: Sequence[float], points: int = POINTS, *, even: bool = False
) -> tuple[list[float], list[float]]:
    """Some points of a curve: the first, the last, and others whose steps are evenly spaced on a logarithmic scale.

    Args:
        steps: Nondecreasing.
        values: As many; those that are not finite are left out.
        points: How many are kept at most.
        even: Keep twice as many points, evenly spaced: for a curve on a linear scale.

    Example:
        >>> thinned(range(1000), range(1000), points=8)[0]
        [0, 2, 6, 18, 51, 138, 372, 999]
    """
    kept = [place for place, value in enumerate(values) if is_number(value)]
    places = evenly(len(kept), 2 * points) if even else spread([steps[place] for place in kept], points)
    chosen = [kept[place] for place in places]
    return [_short(steps[place]) for place in chosen], [_short(values[place]) for place in chosen]


def evenly(count: int, points: int) -> list[int]:
    """At most ``points`` of the places ``0 .. count - 1``, evenly spaced, with the first and the last.

    Example:
        >>> evenly(3, 5), evenly(101, 3)
        ([0, 1, 2], [0, 50, 100])
    """
    return list(range(count)) if count <= points else [part * (count - 1) // (points - 1) for part in range(points)]


def spread(steps: Sequence[float], points: int) -> list[int]:
    """Places of at most ``points`` steps: first, last, and between them evenly spaced in the logarithm of the step.

    Example:
        >>> spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100], 4)
        [0, 4, 9, 10]
    """
    count = len(steps)
    if count <= points:
        return list(range(count))
    span = math.log1p(max(steps[-1] - steps[0], 0))
    wanted = [steps[0] + math.expm1(span * part / (points - 1)) for part in range(points)]
    places, place = [0], 0
    for left, step in zip(range(points - 2, 0, -1), wanted[1:-1], strict=True):
        place += 1
        # As many places are left as steps are wanted: they are all taken.
        while place + 1 < count - left and abs(steps[place + 1] - step) <= abs(steps[place] - step):
            place += 1
        places.append(place)
    return [*places, count - 1]


class _Chosen:
    """Rows that are kept for each column; columns that have the same rows share the choice."""

    def __init__(self, rows: Sequence[Sequence[str]], place: int) -> None:
        self._rows, self._place = rows, place
        self._known: dict[tuple[int, ...], list[Sequence[str]]] = {}

    def of(self, column: int) -> list[Sequence[str]]:
        given = tuple(place for place, row in enumerate(self._rows) if row[column])
        if given not in self._known:
            kept = spread([int(self._rows[place][self._place]) for place in given], POINTS)
            self._known[given] = [self._rows[given[place]] for place in kept]
        return self._known[given]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _short(value: float) -> float:
    # Five digits are more than a plot shows, and a third of the text.
    return value if isinstance(value, int) else float(f"{value:.5g}")
