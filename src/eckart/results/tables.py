"""Columns of any values as a DataFrame, and DataFrames as files."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eckart.results.atomic import replacing

if TYPE_CHECKING:
    import polars

FORMATS = (".parquet", ".csv")


def data_frame(columns: Mapping[str, Sequence[Any]], types: Mapping[str, type]) -> "polars.DataFrame":
    """Make a DataFrame of columns whose values need not be of one type.

    Args:
        columns: Values by name, equally many; None where there is none.
        types: ``str``, ``int``, ``float``, or ``list`` for a list of floats, of columns that keep this type even where
            all their values are None or whole numbers.

    Returns:
        A column for each, in the same order. Numbers, texts, truth values and lists of one of these stay what they
        are. A column of more than one type is text: that of a text as it is, JSON of all others.

    Example:
        >>> data_frame({"loss": [1, None], "hidden": ["paper", [8, 4]], "steps": [[3], []]}, {"loss": float}).to_dicts()
        [{'loss': 1.0, 'hidden': 'paper', 'steps': [3]}, {'loss': None, 'hidden': '[8, 4]', 'steps': []}]
    """
    import polars

    return polars.DataFrame([_series(name, values, types.get(name)) for name, values in columns.items()])


def write(frame: "polars.DataFrame", path: Path) -> None:
    """Write a DataFrame to a ``.parquet`` or ``.csv`` file, which has lists as JSON. The file is whole or not there.

    Raises:
        ValueError: If the path has another ending.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(data_frame({"rank": [1, 2], "losses": [[0.5], None]}, {}), Path(folder, "a.csv"))
        ...     Path(folder, "a.csv").read_text().splitlines()
        ['rank,losses', '1,[0.5]', '2,']
    """
    import polars

    check_format(path)
    written = io.BytesIO()
    if path.suffix == ".csv":
        flat = [
            polars.Series(column.name, _texts(column.to_list()), dtype=polars.String)
            if isinstance(column.dtype, polars.List)
            else column
            for column in frame
        ]
        polars.DataFrame(flat).write_csv(written)
    else:
        frame.write_parquet(written)
    with replacing(path) as partial:
        partial.write_bytes(written.getvalue())


def check_format(path: Path) -> None:
    """Refuse a path that ``write`` cannot write to.

    Raises:
        ValueError: If the path does not end in one of ``FORMATS``.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"The table must end in {' or '.join(FORMATS)}. Found {path}.")


def _series(name: str, values: Sequence[Any], declared: type | None) -> "polars.Series":
    import polars

    types: dict[type, Any] = {
        bool: polars.Boolean,
        int: polars.Int64,
        float: polars.Float64,
        str: polars.String,
        type(None): polars.Null,
    }
    lists = [value for value in values if isinstance(value, list)]
    single = [value for value in values if value is not None and not isinstance(value, list)]
    items = single + [item for value in lists for item in value if item is not None]
    kinds = {type(item) for item in items} or {float if declared is list else declared or type(None)}
    if kinds == {int, float} or (kinds == {int} and declared in (float, list)):
        kinds = {float}
    kind = kinds.pop() if len(kinds) == 1 else object
    if kind not in types or (single and lists) or (kind is int and any(not -(2**63) <= item < 2**63 for item in items)):
        return polars.Series(name, _texts(values), dtype=polars.String)
    dtype = types[kind]
    return polars.Series(name, values, dtype=polars.List(dtype) if lists or declared is list else dtype)


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
