"""Matrices out of text: .csv, .tsv and Matrix Market files."""

import csv
import gzip
import math
from array import array
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eckart.data.files import limits


def read_delimited(path: Path, delimiter: str) -> npt.NDArray[np.float64]:
    """Read a table of numbers, one matrix row a line, without a header.

    Blank lines, and whatever follows a ``#``, are skipped. A value of which nothing stands there is missing: NaN.

    Args:
        path: An existing UTF-8 file.
        delimiter: What separates the values of a line.

    Returns:
        Float64, shape ``(m, n)``.

    Raises:
        ValueError: With the line number, if a value is not a number, or lines differ in their number of values.
    """
    _require_small(path.stat().st_size)
    values, width, first = array("d"), 0, 0
    # Bytes that are not UTF-8 are carried along to be told with their line number, and may stand in a comment.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.reader((_content(line, delimiter) for line in file), delimiter=delimiter, strict=True)
        for row in _rows(rows):
            if not row:
                continue
            width, first = width or len(row), first or rows.line_num
            if len(row) != width:
                law = f"every line must hold as many values as line {first}: {width}"
                raise ValueError(f"{law}. Found {len(row)} on line {rows.line_num}.")
            for column, field in enumerate(row, start=1):
                if not field.strip():
                    values.append(math.nan)
                    continue
                try:
                    values.append(_number(field, rows.line_num, column))
                except ValueError as error:
                    raise ValueError(
                        _with_way_out(str(error), row, delimiter, column, heads=len(values) < width)
                    ) from None
            if len(values) > limits.MAX_ENTRIES:
                raise ValueError(f"the matrix must have m * n <= {limits.MAX_ENTRIES} entries. Found more.")
    if not width:
        raise ValueError("the file must hold at least one line of numbers. Found none.")
    return np.frombuffer(values, dtype=np.float64).reshape(-1, width)


def read_matrix_market(path: Path) -> npt.NDArray[np.float64]:
    """Read a Matrix Market file, dense or sparse, plain or gzipped; patterns are read as ones.

    Entries that a sparse file gives twice are added up.

    Args:
        path: An existing file; a last suffix ``.gz`` means gzipped.

    Returns:
        Float64, shape ``(m, n)``.

    Raises:
        ValueError: With the line number, if the header or an entry is malformed; or if the field is complex, the number
            of entries is not the declared one, or the dense matrix exceeds ``MAX_ENTRIES``.

    References:
        Boisvert, Pozo & Remington, NISTIR 5935, 1996.
    """
    # Not scipy.io.mmread: it crashes the interpreter on long decimals, null bytes and symmetric matrices not square.
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        lines = _Lines(file, most=_unpacked(path))
        layout, field, symmetry = _banner(lines.first())
        sizes = lines.next_content().split()
        law = f"the sizes after the header must be {'rows columns' if layout == 'array' else 'rows columns entries'}"
        if len(sizes) != (2 if layout == "array" else 3) or not all(size.isdecimal() for size in sizes):
            raise ValueError(f"{law}. Found {' '.join(sizes)[:40]!r}.")
        rows, cols = int(sizes[0]), int(sizes[1])
        limits.require_matrix_shape((rows, cols))
        if symmetry != "general" and rows != cols:
            raise ValueError(f"a {symmetry} matrix must be square. Found shape {(rows, cols)}.")
        dense = {"general": rows * cols, "symmetric": rows * (rows + 1) // 2, "skew-symmetric": rows * (rows - 1) // 2}
        declared = dense[symmetry] if layout == "array" else int(sizes[2])
        width = (layout == "coordinate") * 2 + (field != "pattern")
        values, row, col = array("d"), array("q"), array("q")
        for number, line in lines.rest(values if layout == "array" else None, declared):
            fields = line.split()
            if len(fields) != width or len(values) == declared:
                law = f"the file must hold {declared} lines of {width} values"
                raise ValueError(f"{law}. Found {line[:40]!r} on line {number}, after {len(values)}.")
            if layout == "coordinate":
                row.append(_index(fields[0], rows, number, 1))
                col.append(_index(fields[1], cols, number, 2))
            values.append(1.0 if field == "pattern" else _number(fields[-1], number, width))
            if len(values) > limits.MAX_ENTRIES:
                raise ValueError(f"the file must hold at most {limits.MAX_ENTRIES} entries. Found more.")
        if len(values) < declared:
            raise ValueError(f"the file must hold {declared} entries. Found {len(values)}: truncated.")
    entries = np.frombuffer(values, dtype=np.float64)
    if layout == "array" and symmetry == "general":
        return entries.reshape(cols, rows).T
    if layout == "array":
        # Entries run down the columns of the lower triangle, which is along the rows of the upper one.
        j, i = np.triu_indices(rows, 1 if symmetry == "skew-symmetric" else 0)
    else:
        i, j = np.frombuffer(row, dtype=np.int64), np.frombuffer(col, dtype=np.int64)
    matrix = np.zeros((rows, cols))
    np.add.at(matrix, (i, j), entries)
    if symmetry != "general":
        off = i != j
        np.add.at(matrix, (j[off], i[off]), entries[off] * (1 if symmetry == "symmetric" else -1))
    return matrix


def _banner(line: str) -> tuple[str, str, str]:
    words = line.lower().split()
    fields = ["real", "double", "integer", "unsigned-integer", "pattern"]
    known = [
        ["%%matrixmarket"],
        ["matrix"],
        ["array", "coordinate"],
        fields,
        ["general", "symmetric", "skew-symmetric"],
    ]
    fits = len(words) == 5 and all(word in allowed for word, allowed in zip(words, known, strict=True))
    if not fits or words[2:4] == ["array", "pattern"]:
        law = (
            "line 1 must be '%%MatrixMarket matrix' with array or coordinate; real, integer or, for coordinate, pattern"
        )
        raise ValueError(f"{law}; and general, symmetric or skew-symmetric. Found {line[:80]!r}.")
    return words[2], words[3], words[4]


_COMMENT = ord("%")


class _Lines:
    """Lines of a Matrix Market file, read in blocks: a line at a time, 100 MB of empty ones would take minutes.

    Args:
        file: The open file.
        most: Bytes of text at most.
    """

    def __init__(self, file: gzip.GzipFile | BufferedReader, most: int) -> None:
        self._file, self._most, self._size, self._number, self._tail = file, most, 0, 0, b""
        self._block: list[bytes] = []

    def first(self) -> str:
        """Line 1, which may look like a comment."""
        self._fill()
        self._number = 1
        return _decoded(self._block.pop(0)) if self._block else ""

    def next_content(self) -> str:
        """The next line that is neither empty nor a comment; an empty one at the end of the file."""
        while self._block or self._fill():
            for place, line in enumerate(self._block, start=1):
                if _is_content(line):
                    self._number, self._block = self._number + place, self._block[place:]
                    return _decoded(line)
            self._number, self._block = self._number + len(self._block), []
        return ""

    def rest(self, values: "array[float] | None", most: int) -> Iterator[tuple[int, str]]:
        """The other lines that are neither empty nor comments, with their numbers.

        Args:
            values: Where the numbers of a block are appended at once if each of its lines holds one number and
                nothing else; these lines are not given. None gives every line.
            most: Numbers that ``values`` may hold.
        """
        while self._block or self._fill():
            block, self._block = self._block, []
            if values is not None and len(values) + len(block) <= most and (found := _numbers(block)) is not None:
                values.extend(found)
            else:
                for number, line in enumerate(block, start=self._number + 1):
                    # Most lines to skip are told at once; millions of them must not take minutes.
                    if line and line[0] != _COMMENT and _is_content(line):
                        yield number, _decoded(line)
            self._number += len(block)

    def _fill(self) -> bool:
        while not self._block and (text := self._file.read(1 << 20)):
            self._size += len(text)
            if self._size > self._most:
                raise ValueError(f"the text must have at most {self._most} bytes. Found more.")
            *self._block, self._tail = (self._tail + text).split(b"\n")
            if len(self._tail) > 1 << 20:
                raise ValueError(f"line {self._number + len(self._block) + 1} must be shorter than 1 MB. Found more.")
        if not self._block and self._tail:
            self._block, self._tail = [self._tail], b""
        return bool(self._block)


def _unpacked(path: Path) -> int:
    """Bytes of text that a file may hold; a small gzip file that unpacks to gigabytes is refused."""
    if path.suffix.lower() != ".gz":
        return limits.MAX_BYTES
    return min(limits.MAX_BYTES, max(limits.MIN_UNPACKED, limits.MAX_RATIO * path.stat().st_size))


def _is_content(line: bytes) -> bool:
    line = line.strip()
    return bool(line) and not line.startswith(b"%")


def _decoded(line: bytes) -> str:
    return line.decode(errors="surrogateescape").strip()


def _numbers(block: list[bytes]) -> list[float] | None:
    try:
        found = list(map(float, block))
    except ValueError:
        return None
    # Python alone reads 1_000 as a number.
    return None if b"_" in b"\n".join(block) else found


def _with_way_out(said: str, row: list[str], delimiter: str, column: int, *, heads: bool) -> str:
    """What is wrong, and what can be done about a text that stands where headers and names of rows stand."""
    named = column == 1 and len(row) > 1 and not any(map(_is_text, row[1:]))
    ways = ["a header? remove it: tail -n +2"] if heads and not named else []
    if named:
        ways.append(f"names of rows? remove them: cut {'-d, ' if delimiter == ',' else ''}-f2-")
    if len(row) >= 3:
        ways.append("a list of ratings? data=ratings")
    if "must be a number" not in said or not (heads or named):
        return said
    return "; ".join([said.rstrip("."), *ways]) + "."


def _is_text(field: str) -> bool:
    try:
        float(field or "nan")
    except ValueError:
        return True
    return False


def _index(field: str, size: int, line: int, column: int) -> int:
    if not field.isdecimal() or not 1 <= int(field) <= size:
        raise ValueError(f"line {line}, value {column} must be an index from 1 to {size}. Found {field[:40]!r}.")
    return int(field) - 1


def _content(line: str, delimiter: str) -> str:
    content, comment, _ = line.partition("#")
    # A line of nothing but tabs has values in a .tsv file: all are missing.
    blank = not content.strip() and (comment or delimiter not in content)
    # Only spaces may go at the ends: a tab there is an empty value of a .tsv file.
    return "" if blank else content.strip(" \n")


def _rows(reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} must be a well-formed row: {error}.") from error


def _number(field: str, line: int, column: int) -> float:
    try:
        # Python alone reads 1_000 as a number.
        if "_" not in field:
            return float(field)
    except ValueError:
        pass
    law = "UTF-8 text" if any("\udc80" <= character <= "\udcff" for character in field) else "a number"
    raise ValueError(f"line {line}, value {column} must be {law}. Found {field[:40]!r}.")


def _require_small(size: int) -> None:
    if size > limits.MAX_BYTES:
        raise ValueError(f"the text must have at most {limits.MAX_BYTES} bytes. Found more.")
