"""Figures of a run as it went on."""

import csv
from collections.abc import Mapping
from pathlib import Path

from eckart.results.atomic import naming, replacing

HISTORY = "history.csv"


class History:
    """Figures of a run as it went on: one row a measurement, in memory and, given a file, in ``history.csv``.

    Each row is on disk as soon as it is added, so a run that dies leaves what it had measured.

    Args:
        path: The CSV file; None keeps the rows in memory alone.

    Example:
        >>> history = History(None)
        >>> history.add(0, {"train/loss": 4.0})
        >>> history.add(10, {"train/loss": 1.0})
        >>> history.column("train/loss")
        ([0, 10], [4.0, 1.0])
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self._known = -1

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one row."""
        if step <= self._known:
            return
        row: dict[str, float] = {"step": step, **figures}
        self.rows.append(row)
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if self.path is None:
            return
        if new:
            self._write()
        else:
            with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def go_on(self, step: int) -> None:
        """Take over what an earlier run has written, up to the step that its state is kept of.

        Nothing up to the last row that was found is added again.
        """
        if self.path is None or not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        reader = csv.DictReader(lines)
        self._columns = list(reader.fieldnames or [])
        for row, line in zip(reader, lines[1:], strict=False):
            try:
                found: dict[str, float] = {"step": int(row.pop("step"))}
                found |= {name: float(value) for name, value in row.items() if value}
            except (KeyError, ValueError):
                break
            # The last line is cut off where the process ended while it was written.
            if found["step"] > step or not line.endswith("\n"):
                break
            self.rows.append(found)
            self._known = int(found["step"])
        self._write()

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Steps at which a figure was measured, and its values."""
        measured = [row for row in self.rows if row.get(name) is not None]
        return [row["step"] for row in measured], [row[name] for row in measured]

    def _write(self) -> None:
        assert self.path is not None
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self.rows)
