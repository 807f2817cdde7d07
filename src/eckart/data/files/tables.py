"""Tables of ratings in parts: ids as text, ratings as finite numbers."""

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eckart.printable import printable

Names = tuple[str, str, str]
Part = tuple[Any, Any, NDArray[np.float64]]
"""Row ids and column ids, as series of texts, and ratings."""

# Text that is parsed at a time, and rows of a Parquet file.
_BYTES, _ROWS = 2**25, 2**21
# Name of the column of line numbers; no file has it, since names of columns are stripped of nothing.
_PLACE = "\0line"
# Bytes of a header at most.
_HEADER = 2**16
# A file that takes less to read needs no progress.
_PATIENCE = 1.0
_KNOWN = (
    ("user", "userid", "username", "row", "customer", "customerid", "reviewer", "reviewerid"),
    ("item", "itemid", "movie", "movieid", "product", "productid", "col", "column", "book", "bookid", "isbn", "asin"),
    ("rating", "value", "score", "stars", "ratings", "overall", "bookrating"),
)


def csv_parts(path: Path, columns: Sequence[str] | None) -> tuple[Names, Iterator[Part]]:
    """Names of the three columns of a ``.csv`` file, and its ratings in parts."""
    return _delimited(path, columns, ",")


def tsv_parts(path: Path, columns: Sequence[str] | None) -> tuple[Names, Iterator[Part]]:
    """The same of a ``.tsv`` file."""
    return _delimited(path, columns, "\t")


def parquet_parts(path: Path, columns: Sequence[str] | None) -> tuple[Names, Iterator[Part]]:
    """The same of a ``.parquet`` file."""
    import polars as pl

    scanned = pl.scan_parquet(path)
    chosen = _chosen(scanned.collect_schema().names(), columns)

    def parts() -> Iterator[Part]:
        total, places = scanned.select(pl.len()).collect().item(), list(chosen)
        with _progress(total, "ratings") as move:
            for start in range(0, total, _ROWS):
                frame = scanned.select(places).slice(start, _ROWS).collect()
                yield _checked(frame, chosen, start + 1, "row")
                move(len(frame))

    return chosen, parts()


def read_ids_of_pairs(path: Path, columns: Sequence[str] | None) -> Any:
    """A data frame of two columns of ids, as texts, in the order of their file.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.parquet`` file with a header.
        columns: Names of the two columns; None takes the first two.

    Raises:
        ValueError: If the file is none of these, or a column does not exist.
    """
    import polars as pl

    if not path.is_file():
        raise ValueError(f"There must be a file of pairs. Found none at {str(path)!r}.")
    readers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: pl.read_csv(path, infer_schema=False),
        ".tsv": lambda: pl.read_csv(path, infer_schema=False, separator="\t"),
        ".parquet": lambda: pl.read_parquet(path),
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"The pairs must be in a {', '.join(readers)} file. Found {path.suffix!r}.")
    try:
        frame = readers[path.suffix.lower()]()
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {printable(str(error).splitlines()[0], 200)}") from error
    chosen = list(columns or frame.columns[:2])
    for name in chosen:
        if name not in frame.columns:
            raise ValueError(f"The columns must be those of the file. Found {name!r}. {_nearest(name, frame.columns)}")
    if len(chosen) != 2:
        raise ValueError(f"The file must have two columns of ids. Found {len(chosen)}.")
    return frame.select(pl.col(chosen).cast(pl.String).fill_null(""))


def _delimited(path: Path, columns: Sequence[str] | None, separator: str) -> tuple[Names, Iterator[Part]]:
    with path.open("rb") as file:
        first = file.readline(_HEADER)
    fields = _table(first, separator).row(0)
    # A first line with a number in it is a rating, and no header.
    header = not any(_is_number(field) for field in fields)
    names = [str(field) for field in fields] if header else [str(place + 1) for place in range(len(fields))]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"column names must differ. Found {printable(repr(twice), 40)} twice.")
    chosen = _chosen(names, columns)
    places = [names.index(name) for name in chosen]

    def parts() -> Iterator[Part]:
        line = 1
        with path.open("rb") as file, _progress(path.stat().st_size, "B") as move:
            if header:
                move(len(file.readline()))
                line += 1
            for text in _whole_lines(file):
                # The first line says how many columns there are, so it must not be a blank one.
                kept = text.lstrip(b"\r\n")
                before = text[: len(text) - len(kept)].count(b"\n")
                if kept:
                    frame = _table(kept, separator, places)
                    frame = frame.rename(dict(zip(frame.columns, chosen, strict=True)))
                    yield _checked(frame, chosen, line + before, "line")
                line += text.count(b"\n")
                move(len(text))

    return chosen, parts()


def _table(text: bytes, separator: str, places: list[int] | None = None) -> Any:
    import polars as pl

    # As text, so that 7 in one part and 07 in another stay what they are.
    read = functools.partial(pl.read_csv, io.BytesIO(text), has_header=False, separator=separator, infer_schema=False)
    if places is None:
        return read()
    # Releases of polars differ in the order and the names of chosen columns, but where they are asked for in order.
    inside = sorted(places)
    return read(columns=inside)[:, [inside.index(place) for place in places]]


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while read := file.read(_BYTES):
        text = rest + read
        end = text.rfind(b"\n") + 1
        # A line end between two quotation marks is part of a text.
        while end and text.count(b'"', 0, end) % 2:
            end = text.rfind(b"\n", 0, end - 1) + 1
        if end:
            yield text[:end]
        rest = text[end:]
        if len(rest) > 4 * _BYTES:
            raise ValueError(f"a line must have at most {_BYTES} bytes. Found more.")
    if rest.strip():
        yield rest


def _checked(frame: Any, names: Names, first: int, unit: str) -> Part:
    import polars as pl

    # Blank lines say nothing.
    frame = frame.with_row_index(_PLACE, first).filter(~pl.all_horizontal(pl.col(names).is_null()))
    lines, texts = frame[_PLACE], []
    for name in names[:2]:
        column = frame[name]
        if column.dtype.is_float():
            column = column.fill_nan(None)
        if not (column.dtype == pl.String or column.dtype.is_numeric() or column.dtype in (pl.Categorical, pl.Boolean)):
            raise ValueError(f"an id must be a text or a number. Found column {name!r} of type {column.dtype}.")
        texts.append(column.cast(pl.String))
        missing = (texts[-1].is_null() | (texts[-1] == "")).arg_true()
        if len(missing):
            raise ValueError(f"every rating needs an id in column {name!r}. Found none in {unit} {lines[missing[0]]}.")
    given = frame[names[2]]
    if given.dtype == pl.String:
        given = given.str.strip_chars()
    ratings = given.cast(pl.Float64, strict=False)
    broken = (ratings.is_null() | ~ratings.is_finite()).arg_true()
    if len(broken):
        place = broken[0]
        found = "none" if given[place] is None else printable(repr(str(given[place])), 40)
        raise ValueError(f"a rating must be a finite number. Found {found} in {unit} {lines[place]}.")
    return texts[0], texts[1], ratings.to_numpy()


def _chosen(names: Sequence[str], columns: Sequence[str] | None) -> Names:
    if columns is None:
        if len(names) < 3:
            raise ValueError(f"there must be three columns: row, column, rating. Found {len(names)}.")
        plain = ["".join(filter(str.isalnum, name.partition(":")[0].lower())) for name in names]
        found = [next((names[plain.index(word)] for word in words if word in plain), None) for words in _KNOWN]
        return tuple(names[:3]) if None in found else tuple(found)  # type: ignore[return-value]
    if len(columns) != 3 or len(set(columns)) != 3:
        raise ValueError(f"columns must name three columns: row, column, rating. Found {list(columns)}.")
    for name in columns:
        if str(name) not in names:
            raise ValueError(f"columns must name columns of the file. Found {name!r}. {_nearest(str(name), names)}")
    return str(columns[0]), str(columns[1]), str(columns[2])


def _nearest(word: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, names, n=2)
    return f"Did you mean {' or '.join(near)}?" if near else f"They are: {', '.join(map(repr, names[:20]))}."


def _is_number(field: Any) -> bool:
    try:
        float(field)
    except (TypeError, ValueError):
        return False
    return True


class _progress:
    """A line of progress on a terminal, once reading takes longer than a moment."""

    def __init__(self, total: int, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, unit=unit, unit_scale=True, desc="reading", leave=False, delay=_PATIENCE, disable=None
        )

    def __enter__(self) -> Callable[[int], Any]:
        return self._bar.update

    def __exit__(self, *_: object) -> None:
        self._bar.close()
