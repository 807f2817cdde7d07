"""The history of a W&B run: rows of items, kept as columns of numbers."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from eckart.tracking.items import NAMES, TYPE, VALUE, Names, Path, joined, leaves, loaded, number, parsed
from eckart.tracking.tree import put

Column = tuple[list[float], list[float]]

# What W&B adds to every row.
_OWN = {("_step",), ("_runtime",), ("_timestamp",)}
# Names that take no numbers, and names whose items are read one by one.
_SKIPPED: Column = ([], [])
_ODD: Column = ([], [])


class Columns:
    """Columns of a history.

    Attributes:
        media: Step, name and value of what was logged and has a type: images and others.
        step: Step of the last row.
        full: Whether names were left out, since there were more than :data:`eckart.tracking.items.NAMES`.
    """

    def __init__(self) -> None:
        self.media: list[tuple[int, str, Mapping[str, Any]]] = []
        self.full = False
        self.step = -1
        self._names = Names()
        self._columns: dict[Path, Column] = {}
        self._places: dict[bytes, Column] = {}
        self._typed: set[Path] = set()
        self._axes: dict[str, str] = {}
        self._axes_by_prefix: dict[str, str] = {}
        self._hidden: set[str] = set()

    def define(self, name: str, axis: str, hidden: bool) -> None:
        """Let the column of a name have another one as its axis; a star at the end of a name stands for any ending.

        Args:
            name: Its name, the names of what is nested joined by dots, as W&B does.
            axis: Name of the other one; empty for the step.
            hidden: Whether it is only there for the sake of others.
        """
        if hidden:
            self._hidden.add(name)
        if name.endswith("*"):
            self._axes_by_prefix[name[:-1]] = axis
        else:
            self._axes[name] = axis

    def add(self, items: Sequence[bytes], step: int | None) -> None:
        """Add a row.

        Args:
            items: Its items as W&B encodes them.
            step: Its step; None if only an item says it, or nothing.
        """
        self.step = step = self._step_of(items) if step is None else step
        places, odd = self._places, []
        # This loop takes most of the time of reading a run: a name is looked up by its bytes, a value begins with its
        # length.
        for item in items:
            head, _, value = item.partition(VALUE)
            place = places.get(head)
            if place is None:
                place = places[head] = self._place(head)
            if place is _SKIPPED:
                continue
            if place is not _ODD and value and value[0] == len(value) - 1:
                try:
                    place[1].append(float(value[1:]))
                except ValueError:
                    odd.append(item)
                else:
                    place[0].append(step)
            else:
                odd.append(item)
        if odd:
            self._add_odd(odd, items, step)

    def finished(self) -> tuple[dict[str, Column], dict[str, str]]:
        """Columns by name, sorted, each on its axis; and the axes that are not the step."""
        columns = {path: column for path, column in self._columns.items() if column[0] and not self._of_type(path)}
        dotted = {".".join(path): column for path, column in columns.items()}
        shown: dict[str, Column] = {}
        axes: dict[str, str] = {}
        for path, column in sorted(columns.items()):
            own, name = ".".join(path), joined(path)
            axis = self._axis(own)
            if path in _OWN or own in self._hidden or name in shown:
                continue
            shown[name] = column
            if axis and axis in dotted and (on_axis := _along(column, dotted[axis]))[0]:
                shown[name], axes[name] = on_axis, axis
        return shown, axes

    def _step_of(self, items: Sequence[bytes]) -> int:
        found = [number(text) for path, text in parsed(items) if path == ("_step",)]
        return int(found[0]) if found and found[0] is not None and math.isfinite(found[0]) else self.step + 1

    def _place(self, head: bytes) -> Column:
        path = self._names(head)
        if path is None:
            return _ODD
        if path in _OWN and path[0] not in {*self._axes.values(), *self._axes_by_prefix.values()}:
            return _SKIPPED
        return self._column(path)

    def _column(self, path: Path) -> Column:
        if path not in self._columns and len(self._columns) >= NAMES:
            self.full = True
            return _SKIPPED
        return self._columns.setdefault(path, ([], []))

    def _add_odd(self, odd: Sequence[bytes], items: Sequence[bytes], step: int) -> None:
        typed = False
        for path, text in parsed(odd):
            typed |= path[-1] == TYPE
            if (value := number(text)) is not None:
                self._append(path, step, value)
            elif text.startswith(b"{"):
                self._add_tree({path[-1]: _loaded(text)}, path[:-1], step)
        if typed:
            tree: dict[str, Any] = {}
            for path, text in parsed(items):
                put(tree, path, _loaded(text))
            self._add_tree({name: value for name, value in tree.items() if isinstance(value, dict)}, (), step, False)

    def _add_tree(self, tree: dict[str, Any], outer: Path, step: int, numbers: bool = True) -> None:
        for path, value in leaves(tree, outer):
            if isinstance(value, dict):
                self._typed.add(path)
                self.media.append((step, joined(path), value))
            elif numbers and isinstance(value, int | float) and not isinstance(value, bool):
                self._append(path, step, float(value))

    def _append(self, path: Path, step: int, value: float) -> None:
        column = self._column(path)
        if column is not _SKIPPED:
            column[0].append(step)
            column[1].append(value)

    def _of_type(self, path: Path) -> bool:
        return bool(self._typed) and any(path[:length] in self._typed for length in range(1, len(path)))

    def _axis(self, name: str) -> str:
        if name in self._axes or not self._axes_by_prefix:
            return self._axes.get(name, "")
        lengths = sorted(set(map(len, self._axes_by_prefix)), reverse=True)
        axis = next((self._axes_by_prefix[name[:n]] for n in lengths if name[:n] in self._axes_by_prefix), "")
        return "" if axis == name else axis


def _loaded(text: bytes) -> Any:
    try:
        return loaded(text)
    except ValueError:
        return None


def _along(column: Column, axis: Column) -> Column:
    """A column with the values of another one, the last ones known at each step, in place of its steps."""
    known = sorted(zip(*axis, strict=True), key=lambda point: point[0])
    steps = [step for step, _ in known]
    found: Column = ([], [])
    for step, value in zip(*column, strict=True):
        place = bisect_right(steps, step)
        if place and math.isfinite(known[place - 1][1]):
            found[0].append(known[place - 1][1])
            found[1].append(value)
    return found
