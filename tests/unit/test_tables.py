import csv
import json
from pathlib import Path
from typing import Any

import polars
import pytest
from polars.testing import assert_frame_equal

from eckart.results.tables import data_frame, write

HUGE = 2**70


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2, None], polars.Int64, None),
        ([1, 2.5, None], polars.Float64, [1.0, 2.5, None]),
        ([True, None], polars.Boolean, None),
        (["a", None, "ü"], polars.String, None),
        ([None, None], polars.Null, None),
        ([[1, 2], None, []], polars.List(polars.Int64), None),
        ([[1], [2.5]], polars.List(polars.Float64), [[1.0], [2.5]]),
        ([["a"], [None]], polars.List(polars.String), None),
        (["paper", [8, 2], None], polars.String, ["paper", "[8, 2]", None]),
        (["1e-3", 1, 0.5, True], polars.String, ["1e-3", "1", "0.5", "true"]),
        ([1, True], polars.String, ["1", "true"]),
        ([1, [1]], polars.String, ["1", "[1]"]),
        ([[[1, 0], [0, 1]], None], polars.String, ["[[1, 0], [0, 1]]", None]),
        ([[1, "ü"]], polars.String, ['[1, "ü"]']),
        ([{"a": 1}, None], polars.String, ['{"a": 1}', None]),
        ([HUGE, 1], polars.String, [str(HUGE), "1"]),
        ([2**63 - 1, -(2**63)], polars.Int64, None),
        ([HUGE, 0.5], polars.Float64, [float(HUGE), 0.5]),
    ],
)
def test_a_column_has_the_type_of_its_values_or_is_text(
    values: list[Any], dtype: Any, expected: list[Any] | None
) -> None:
    column = data_frame({"a": values}, {})["a"]
    assert column.dtype == dtype
    assert column.to_list() == (values if expected is None else expected)


@pytest.mark.parametrize(
    ("values", "declared", "dtype"),
    [
        ([None, None], float, polars.Float64),
        ([0, 1], float, polars.Float64),
        ([None], str, polars.String),
        ([None], int, polars.Int64),
        ([None], list, polars.List(polars.Float64)),
        ([[1, 2], None], list, polars.List(polars.Float64)),
        (["ten"], int, polars.String),
    ],
)
def test_a_declared_column_keeps_its_type_where_its_values_allow(values: list[Any], declared: type, dtype: Any) -> None:
    column = data_frame({"a": values}, {"a": declared})["a"]
    assert (column.dtype, column.to_list()) == (dtype, values)


COLUMNS: dict[str, list[Any]] = {
    "method": ["svd", 'bottle"neck, a\nb'],
    "loss": [0.1 + 0.2, None],
    "steps": [None, 3],
    "hidden": ["paper", [8, 2]],
    "losses": [[1.5, 2.0], None],
    "tags": [[], []],
    "none": [None, None],
}


def test_parquet_gives_back_the_table(tmp_path: Path) -> None:
    table = data_frame(COLUMNS, {})
    write(table, tmp_path / "new" / "a.parquet")
    assert_frame_equal(polars.read_parquet(tmp_path / "new" / "a.parquet"), table)


def test_csv_has_every_digit_and_lists_as_json(tmp_path: Path) -> None:
    write(data_frame(COLUMNS, {}), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first) == list(COLUMNS)
    assert float(first["loss"]) == COLUMNS["loss"][0] and second["loss"] == ""
    assert [first["method"], second["method"]] == COLUMNS["method"]
    assert json.loads(first["losses"]) == COLUMNS["losses"][0] and second["losses"] == ""
    assert (second["hidden"], second["steps"], second["none"]) == ("[8, 2]", "3", "")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_table_is_whole_or_the_one_before(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(data_frame({"a": [1]}, {}), tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def crash(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "disk full")

    monkeypatch.setattr(Path, "write_bytes", crash)
    with pytest.raises(OSError, match="disk full"):
        write(data_frame({"a": [2]}, {}), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "csv", "a.csv.gz"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^The table must end in \.parquet or \.csv\. Found .*" + name + r"\.$"):
        write(data_frame({"a": [1]}, {}), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
