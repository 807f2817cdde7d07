"""Ratings from files, sound and broken."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy import io, sparse
from sklearn.model_selection import KFold

from eckart.data.files import tables
from eckart.data.files.triplets import read_triplets
from eckart.data.ratings import RatingsData

ROWS = [("anna", "10", 5.0), ("bert", "9", 3.5), ("anna", "9", 1.0), ("carl é", "10", 2.0)]


def written(folder: Path, name: str, header: str | None = "user,item,rating", rows: Any = ROWS) -> str:
    separator = "\t" if name.endswith(".tsv") else ","
    lines = [header.replace(",", separator)] if header else []
    lines += [separator.join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / name)


def as_sets(found: Any) -> set[tuple[str, str, float]]:
    ids = ((found.row_ids[row], found.col_ids[col]) for row, col in zip(found.row, found.col, strict=True))
    return {(*pair, value) for pair, value in zip(ids, found.value.tolist(), strict=True)}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
def test_tables_of_every_kind(name: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        frame = pl.DataFrame(ROWS, schema=["user", "item", "rating"], orient="row")
        frame.with_columns(pl.col("item").cast(pl.Int16)).write_parquet(tmp_path / name)
        path = str(tmp_path / name)
    else:
        path = written(tmp_path, name)
    found = read_triplets(path)
    assert as_sets(found) == set(ROWS)
    assert found.names == ("user", "item", "rating")
    # As numbers where all are, else as texts.
    assert found.col_ids == ["9", "10"]
    assert found.row_ids == ["anna", "bert", "carl é"]


@pytest.mark.parametrize(
    ("header", "columns", "names"),
    [
        ("when,rating:float,item_id:token,user_id:token", None, ("user_id:token", "item_id:token", "rating:float")),
        ("a,b,c,d", None, ("a", "b", "c")),
        ("a,b,c,d", ["d", "a", "b"], ("d", "a", "b")),
        (None, None, ("1", "2", "3")),
        (None, ["4", "1", "2"], ("4", "1", "2")),
    ],
)
def test_which_columns_are_taken(header: Any, columns: Any, names: Any, tmp_path: Path) -> None:
    rows = [(1, 2, 3, 4), (5, 6, 7, 8)]
    found = read_triplets(written(tmp_path, "a.csv", header, rows), columns)
    assert found.names == names
    places = [header.split(",").index(name) if header else int(name) - 1 for name in names]
    wanted = {(str(row[places[0]]), str(row[places[1]]), float(row[places[2]])) for row in rows}
    assert as_sets(found) == wanted


def test_a_file_is_the_same_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f'"a\n{row % 7}"', f"0{row % 11}", row / 8) for row in range(70)]
    path = written(tmp_path, "a.csv", rows=rows)
    whole = read_triplets(path)
    monkeypatch.setattr(tables, "_BYTES", 64)
    parts = read_triplets(path)
    assert parts.row_ids == whole.row_ids == [f"a\n{row}" for row in range(7)]
    for name in ("row", "col", "value"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    frame = pl.DataFrame({"u": [1, 2, 3] * 5, "i": list(range(15)), "r": [1.0] * 15})
    frame.write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "_ROWS", 4)
    assert len(read_triplets(tmp_path / "a.parquet").value) == 15


@pytest.mark.parametrize("name", ["a.mtx", "a.mtx.gz", "a.npz"])
def test_sparse_matrices_keep_their_shape_and_number_from_where_their_files_do(name: str, tmp_path: Path) -> None:
    matrix = sparse.coo_matrix(([1.5, 2.0], ([0, 3], [1, 0])), shape=(5, 2))
    if name == "a.npz":
        sparse.save_npz(tmp_path / name, matrix.tocsr())
    else:
        io.mmwrite(tmp_path / "a.mtx", matrix)
        if name.endswith("gz"):
            import gzip

            (tmp_path / name).write_bytes(gzip.compress((tmp_path / "a.mtx").read_bytes()))
    found, first = read_triplets(tmp_path / name), 0 if name == "a.npz" else 1
    assert found.shape == (5, 2)
    assert as_sets(found) == {(str(first), str(first + 1), 1.5), (str(first + 3), str(first), 2.0)}


@pytest.mark.parametrize(
    ("rows", "law"),
    [
        ([("a", "b", "x")], "a rating must be a finite number. Found 'x' in line 2."),
        ([("a", "b", 1), ("a", "c", "nan")], "a rating must be a finite number. Found 'nan' in line 3."),
        ([("a", "b", "inf")], "Found 'inf' in line 2."),
        ([("a", "b", "")], "a rating must be a finite number. Found none in line 2."),
        ([("a", "b", 1), ("", "c", 2)], "every rating needs an id in column 'user'. Found none in line 3."),
        ([("a", "", 1)], "every rating needs an id in column 'item'. Found none in line 2."),
        ([], "there must be a rating. Found none."),
    ],
)
def test_broken_tables_are_named_with_their_place(rows: Any, law: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(law)) as caught:
        read_triplets(written(tmp_path, "a.csv", rows=rows))
    assert "\n" not in str(caught.value)
    assert "a.csv" in str(caught.value)


def test_what_is_no_file_of_ratings(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv")
    for columns, law in (
        (["user", "itm", "rating"], "columns must name columns of the file. Found 'itm'. Did you mean item?"),
        (["user", "item"], "columns must name three columns"),
    ):
        with pytest.raises(ValueError, match=re.escape(law)):
            read_triplets(path, columns)
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.xlsx").write_text("a")
    (tmp_path / "a.parquet").write_text("no parquet")
    np.savez(tmp_path / "dense.npz", a=np.eye(2))
    io.mmwrite(tmp_path / "dense.mtx", np.eye(2))
    bad = sparse.csr_matrix(np.eye(3))
    bad.indices[0] = 7
    sparse.save_npz(tmp_path / "outside.npz", bad)
    for name, law in {
        "two.csv": "there must be three columns",
        "a.xlsx": "the extension must be one of .csv",
        "a.parquet": "the file must be a sound .parquet file",
        "dense.npz": "must hold a sparse matrix",
        "dense.mtx": "in coordinate format. Found array",
        "outside.npz": "Cannot read",
    }.items():
        with pytest.raises(ValueError, match=law) as caught:
            read_triplets(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="the file must exist"):
        read_triplets(tmp_path / "none.csv")


def of(path: str, **options: Any) -> RatingsData:
    data = RatingsData(path, **options)
    data.setup()
    return data


@pytest.mark.parametrize(("duplicates", "kept"), [("mean", 2.0), ("last", 1.0)])
def test_two_ratings_of_one_pair(duplicates: str, kept: float, tmp_path: Path) -> None:
    rows = [("b", 2, 4), ("a", 1, 3), ("a", 2, 5), ("a", 1, 1)]
    path = written(tmp_path, "a.csv", rows=rows)
    law = "A pair must have one rating; data.duplicates=mean or last takes more. Found two of user a, item 1."
    with pytest.raises(ValueError, match=re.escape(law)):
        of(path)
    found = of(path, duplicates=duplicates, test=0).supply("entries")["entries"]
    wanted = torch.tensor([[kept, 5.0], [torch.nan, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(found.dense(), wanted, equal_nan=True)


def test_folds_are_those_of_scikit_learn_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [(row * 7 % 13, row * 5 % 11, row) for row in range(23)]
    path = written(tmp_path, "a.csv", rows=rows)
    for fold, (train, test) in enumerate(KFold(3, shuffle=True, random_state=4).split(rows)):
        data = of(path, folds=3, fold=fold, split=4)
        assert sorted(data.held_out.value.tolist()) == test.tolist()
        assert sorted(data.supply("entries")["entries"].value.tolist()) == train.tolist()
    assert len(of(path).held_out) == 2
    assert len(of(path, test=0.5).held_out) == 12
    assert not len(of(path, test=0).held_out)


@pytest.mark.parametrize(
    ("rows", "law"),
    [
        ([(1, 1, 4), (1, 2, 4), (2, 1, 4)], "The ratings must differ. Found 3, all of them 4."),
        ([(1, 1, 4)], "There must be at least two ratings to learn from. Found 1."),
    ],
)
def test_ratings_that_nothing_can_be_learned_from(rows: Any, law: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=law):
        of(written(tmp_path, "a.csv", rows=rows), test=0).supply("entries")


@pytest.mark.parametrize(
    ("options", "law"),
    [
        ({"folds": 5}, "data.folds must be at most the number of ratings, 4. Found 5."),
        ({"folds": 1}, "data.folds must be at least 2. Found 1."),
        ({"folds": 3, "fold": 3}, "data.fold must be from 0 to 2. Found 3."),
        ({"fold": 1}, "data.fold must be 0 where there are no folds. Found 1."),
        ({"folds": 2, "test": 0.1}, "data.test is for ratings without folds."),
        ({"test": 1.0}, "data.test must be a share of at least 0 and below 1. Found 1.0."),
        ({"test": 0.01}, "data.test must hold out a rating. Found 0.01 of 4 ratings."),
        ({"test": 0.95}, "There must be ratings left to learn from. Found all 4 held out."),
        ({"duplicates": "first"}, "duplicates must be one of"),
    ],
)
def test_settings_out_of_range(options: Any, law: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(law)):
        of(written(tmp_path, "a.csv"), **options)


def test_columns_that_were_taken_by_their_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("film,stars,who\nalien,5,anna\n")
    law = r"Found 'anna' in line 2; columns taken: film, stars, who; data\.columns=\[user,item,rating\] names others\.$"
    with pytest.raises(ValueError, match=law):
        read_triplets(tmp_path / "films.csv")


def test_blank_lines_and_spaces_around_ratings_say_nothing(tmp_path: Path) -> None:
    plain, spaced = tmp_path / "plain.csv", tmp_path / "spaced.csv"
    plain.write_text("user,item,rating\na,x,1\nb,x,2\na,y,3\n")
    spaced.write_text("user,item,rating\n\n\na,x, 1\n\nb,x,2 \na,y,3\n\n")
    assert as_sets(read_triplets(spaced)) == as_sets(read_triplets(plain)) and len(as_sets(read_triplets(plain))) == 3
    spaced.write_text("user,item,rating\n\na,x,1\n\nb,x,two\n")
    with pytest.raises(ValueError, match=r"Found 'two' in line 5\.$"):
        read_triplets(spaced)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,user,rating\na,x,1\nb,x,2\n")
    with pytest.raises(ValueError, match=r"column names must differ\. Found 'user' twice\.$"):
        read_triplets(path)
