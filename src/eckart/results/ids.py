"""``ids.parquet``: the ids of the rows and columns of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eckart.results.atomic import replacing

IDS = "ids.parquet"


class Ids(NamedTuple):
    """Ids of a run.

    Attributes:
        rows: Of its rows, in their order.
        cols: Of its columns.
        names: What the table of ratings calls rows and columns.
    """

    rows: list[str]
    cols: list[str]
    names: tuple[str, str]


def write_ids(folder: Path, row_ids: Sequence[str], col_ids: Sequence[str], names: tuple[str, str]) -> None:
    """Write the ids of rows and columns, in their order, and what both are called.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> write_ids(folder, ["anna", "bert"], ["7"], ("user", "item"))
        >>> read_ids(folder)
        Ids(rows=['anna', 'bert'], cols=['7'], names=('user', 'item'))
    """
    import polars as pl

    sides = [("row", list(row_ids)), ("column", list(col_ids)), ("name", list(names))]
    frame = pl.DataFrame(
        {"of": [side for side, ids in sides for _ in ids], "id": [name for _, ids in sides for name in ids]},
        schema={"of": pl.String, "id": pl.String},
    )
    with replacing(folder / IDS) as partial:
        frame.write_parquet(partial)


def read_ids(folder: Path) -> Ids | None:
    """Read them; None where there are none, so that rows and columns have numbers from 0.

    Raises:
        ValueError: If the file is none of these.
    """
    import polars as pl

    path = folder / IDS
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path, columns=["of", "id"])
        rows, cols, (first, second) = (
            frame.filter(pl.col("of") == side)["id"].to_list() for side in ("row", "column", "name")
        )
    except Exception as error:
        raise ValueError(f"{path} must hold the ids of a run. Found {type(error).__name__}.") from error
    return Ids(rows, cols, (first, second))
