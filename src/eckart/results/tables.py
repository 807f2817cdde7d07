"""Results as a DataFrame, and DataFrames as files."""

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eckart.results import settings
from eckart.results.atomic import replacing
from eckart.results.result import FIELDS, read_results

if TYPE_CHECKING:
    import polars

FORMATS = (".parquet", ".csv")


def load(*folders: str | Path) -> "polars.DataFrame":
    """All jobs of any number of sweeps as one tidy table, one row a job.

    The columns are, in this order:

    1. The settings that tell the jobs apart: those of ``method``, ``data``, ``rank``, ``seed`` and the values of the
       config, such as ``method.max_steps``, that vary, and neither come with the choice of another (``optimizer.betas``
       comes with Adam) nor repeat one (``data.seed`` repeats the seed).
    2. The fields of ``result.json``; ``shape`` as ``rows`` and ``cols``.
    3. ``folder``, the folder of the job.
    4. All other settings.

    A value that a job does not have is null. Types are as in :func:`data_frame`.

    Args:
        folders: As in :func:`~eckart.results.result.read_results`, which also says which results are left out.

    Raises:
        FileNotFoundError: If a folder does not exist, or none of them holds a result.

    Example:
        >>> import tempfile
        >>> from eckart.results.result import write_result
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for seed, steps in enumerate([7, 9]):
        ...         job = {"method": "svd", "data": "lab", "rank": 2, "seed": seed, "config": {"data": {"seed": seed}}}
        ...         _ = write_result(Path(folder, f"seed={seed}"), job | {"steps": steps})
        ...     table = load(folder)
        >>> table["seed"].to_list(), table["steps"].to_list(), table.columns[0], table.columns[-1]
        ([0, 1], [7, 9], 'seed', 'data.seed')
    """
    results = read_results(*folders)
    jobs = [settings.settings(result) for result in results.values()]
    fields = [settings.flatten(_fields(result)) for result in results.values()]
    first = settings.differing(jobs)
    columns = {name: [job.get(name) for job in jobs] for name in first}
    columns |= {name: [row.get(name) for row in fields] for name in dict.fromkeys(itertools.chain(*fields))}
    columns["folder"] = [str(folder) for folder in results]
    for name in settings.names(jobs):
        columns.setdefault(name, [job.get(name) for job in jobs])
    return data_frame(columns, FIELDS | {"rows": int, "cols": int, "confusion": str})


def data_frame(columns: Mapping[str, Sequence[Any]], types: Mapping[str, type]) -> "polars.DataFrame":
    """Make a DataFrame of columns whose values need not be of one type.

    Args:
        columns: Values by name, equally many for each; None for a missing value.
        types: ``str``, ``int``, ``float``, or ``list`` for a list of floats, for columns that have this type also where
            all their values are None or integers.

    Returns:
        The columns in the same order. Numbers, texts, booleans and lists of one of these keep their type. A column of
        more than one type becomes text: texts as they are, all other values as JSON.

    Example:
        >>> data_frame({"loss": [1, None], "hidden": ["paper", [8, 4]], "steps": [[3], []]}, {"loss": float}).to_dicts()
        [{'loss': 1.0, 'hidden': 'paper', 'steps': [3]}, {'loss': None, 'hidden': '[8, 4]', 'steps': []}]
    """
    import polars

    return polars.DataFrame([_series(name, values, types.get(name)) for name, values in columns.items()])


def write(frame: "polars.DataFrame", path: Path) -> None:
    """Write a DataFrame to a ``.parquet`` file or, with lists as JSON, a ``.csv`` file. It is complete or absent.

    Raises:
        ValueError: If the path has another suffix.
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
    """Refuse a path whose suffix ``write`` does not know.

    Raises:
        ValueError: If the path does not end in one of ``FORMATS``.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"The table must end in {' or '.join(FORMATS)}. Found {path}.")


def _fields(result: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in result.items():
        if name == "shape":
            fields["rows"], fields["cols"] = value or (None, None)
        elif name not in (*settings.LEADING, "config"):
            fields[name] = value
    return fields


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
