"""``eckart predict``: predictions of a run, for a file of pairs or the best of one row."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eckart.errors import one_line, warn_in_one_line


def main(program: str, arguments: Sequence[str]) -> None:
    """Print predictions as CSV, or write them to a file.

    Args:
        program: What the user typed before the arguments, for the help.
        arguments: The folder of a run, and options.
    """
    parser = argparse.ArgumentParser(
        prog=program, description="Predictions of a run with method=completion, by the ids of rows and columns, as CSV."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the run")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--pairs", type=Path, metavar="FILE", help="a .csv, .tsv or .parquet with two columns of ids")
    asked.add_argument("--row", metavar="ID", help="the columns with the largest predictions for this row")
    parser.add_argument("-n", type=int, default=10, help="how many of them (10)")
    parser.add_argument("--all", action="store_true", help="also columns that the row has a rating for")
    named = "of the ids in FILE; as in the table of ratings, else the first two columns"
    parser.add_argument("--columns", nargs=2, metavar="NAME", help=named)
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .csv; the terminal where there is none")
    given = parser.parse_args(arguments)
    warn_in_one_line()
    try:
        frame = _of_pairs(given) if given.pairs is not None else _of_row(given)
        if given.out is None:
            print(frame.write_csv(), end="")
        else:
            frame.write_csv(given.out)
            print(f"{given.out}: {len(frame):,} predictions")
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))


def _of_pairs(given: argparse.Namespace) -> Any:
    import polars as pl

    from eckart.api.result import Result
    from eckart.data.files.tables import read_ids_of_pairs

    predictor = Result.read(given.folder).predictor
    frame = read_ids_of_pairs(given.pairs, given.columns, names=predictor.names, is_pair=predictor.holds)
    if frame.is_empty():
        return frame.with_columns(prediction=pl.lit(None, dtype=pl.Float64))
    ids = [predictor.as_ids(frame[name].to_list()) for name in frame.columns]
    found = predictor.predict(*ids)
    if (unknown := predictor.unknown(*ids)) is not None:
        print(f"warning: {unknown}", file=sys.stderr)
    return frame.with_columns(pl.Series("prediction", found).fill_nan(None))


def _of_row(given: argparse.Namespace) -> Any:
    import polars as pl

    from eckart.api.result import Result

    result = Result.read(given.folder)
    (row,) = result.predictor.as_ids([given.row])
    without = () if given.all else result.rated_by(row)
    best = result.top_n(row, given.n, without=without)
    return pl.DataFrame({"column": [str(name) for name, _ in best], "prediction": [value for _, value in best]})
