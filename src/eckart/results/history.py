"""Measurements of a run by step."""

import csv
import errno
import itertools
import os
from collections.abc import Mapping
from pathlib import Path

from eckart.results.atomic import naming, replacing

HISTORY = "history.csv"


class History:
    """Measurements of a run by step, one row for each step that was measured; in memory and, given a file, on disk.

    Each row is on disk as soon as it is added, so a run that is killed leaves every row that it had added.

    Args:
        path: The CSV file; None keeps the rows only in memory.

    Example:
        >>> history = History(None)
        >>> history.add(0, {"train/loss": 4.0}) and history.add(10, {"train/loss": 1.0})
        True
        >>> history.column("train/loss")
        ([0, 10], [4.0, 1.0])
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self._known = -1

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read a file that a run has written; the rows are kept in memory, and the file is never changed.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = History(Path(folder, "history.csv")).add(10, {"train/loss": 1.0})
            ...     History.read(Path(folder, "history.csv")).column("train/loss")
            ([10], [1.0])

        Raises:
            FileNotFoundError: If there is no such file.
        """
        history = cls(None)
        history._columns, history.rows = _read(path)
        return history

    def add(self, step: int, values: Mapping[str, float]) -> bool:
        """Add the measurements of a step, and return true; a step that an earlier run has measured is skipped."""
        if step <= self._known:
            return False
        row: dict[str, float] = {"step": step, **values}
        self.rows.append(row)
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if self.path is not None and new:
            self._write()
        elif self.path is not None:
            with naming(self.path), self.path.open("ab", buffering=0) as file:
                line = self._line(row)
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True

    def resume(self, step: int) -> None:
        """Take over the rows that an earlier run has written, up to the step of the state that it has kept.

        The rows after that step are removed. Steps up to the last row that is kept are not added again.
        """
        if self.path is None or not self.path.is_file():
            return
        self._columns, rows = _read(self.path)
        self.rows = list(itertools.takewhile(lambda row: row["step"] <= step, rows))
        self._known = int(self.rows[-1]["step"]) if self.rows else -1
        self._write()

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Steps at which a quantity was measured, and its values."""
        measured = [row for row in self.rows if row.get(name) is not None]
        return [row["step"] for row in measured], [row[name] for row in measured]

    def _line(self, row: Mapping[str, float]) -> bytes:
        # As the module csv writes numbers, in a tenth of the time.
        return (",".join([repr(row[name]) if name in row else "" for name in self._columns]) + "\r\n").encode()

    def _write(self) -> None:
        assert self.path is not None
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(self._columns)
            file.writelines(self._line(row).decode() for row in self.rows)


def _read(path: Path) -> tuple[list[str], list[dict[str, float]]]:
    """Names of the columns, and the rows up to the first that is not complete."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    reader = csv.DictReader(lines)
    rows = []
    for texts, line in zip(reader, lines[1:], strict=False):
        try:
            row: dict[str, float] = {"step": int(texts.pop("step"))}
            row |= {name: float(text) for name, text in texts.items() if text}
        except (KeyError, ValueError):
            break
        # The last line is cut off where the process was killed while it wrote it.
        if not line.endswith("\n"):
            break
        rows.append(row)
    return list(reader.fieldnames or []), rows
