"""A terminal of the tests: a pty, and what a user would see on it."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from typing import TextIO

import wcwidth


class Terminal:
    """A pty of a width: ``stream`` writes to it, and ``written`` is what arrived."""

    def __init__(self, columns: int) -> None:
        self._main, side = pty.openpty()
        self.stream: TextIO = os.fdopen(side, "w", encoding="utf-8")
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.resize(columns)

    def resize(self, columns: int) -> None:
        self.columns = columns
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def close(self) -> str:
        """All that was written, when no more can come."""
        self.stream.close()
        self._reader.join()
        with contextlib.suppress(OSError):
            os.close(self._main)
        return self.written

    @property
    def written(self) -> str:
        return b"".join(self._parts).decode().replace("\r\n", "\n")

    def _read(self) -> None:
        # The main side of a pty cannot be read any more when the other side is closed.
        with contextlib.suppress(OSError):
            while part := os.read(self._main, 65536):
                self._parts.append(part)


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    opened = Terminal(columns)
    try:
        yield opened
    finally:
        opened.close()


def frames(written: str, columns: int) -> list[list[str]]:
    """The rows of the screen whenever the cursor returned to the start of a row; a row that is too long fails."""
    rows, row, column, seen = [""], 0, 0, []
    for part in re.findall(r"\x1b\[[\d;]*[A-Za-z]|.", written, re.DOTALL):
        if part == "\r":
            seen.append([line.rstrip() for line in rows])
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif part == "\x1b[A":
            row -= 1
        elif part == "\x1b[J":
            rows[row:] = [rows[row][:column]]
        elif not part.endswith("m") or len(part) == 1:
            assert part.isprintable(), repr(part)
            line = rows[row].ljust(column)
            rows[row] = line[:column] + part + line[column + 1 :]
            column += 1
            assert wcwidth.width(rows[row].rstrip()) <= columns, rows[row]
    seen.append([line.rstrip() for line in rows])
    return seen
