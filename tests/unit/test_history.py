import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eckart.results.history import History


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_history_is_on_disk_after_each_row(tmp_path: Path) -> None:
    path = tmp_path / "run" / "history.csv"
    history = History(path)
    for step in range(5):
        history.add(step, {"loss": 1 / (step + 1), "error": 0.1 * step})
        rows = read_csv(path)
        assert len(rows) == step + 1
        assert float(rows[-1]["loss"]) == 1 / (step + 1)
        assert float(rows[-1]["error"]) == 0.1 * step
    assert path.read_text(encoding="utf-8").splitlines()[0] == "step,loss,error"


def test_history_takes_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = History(path)
    history.add(0, {"loss": 4.0})
    history.add(1, {"accuracy": 0.5})
    history.add(2, {"loss": 1.0, "accuracy": 0.75})
    assert read_csv(path) == [
        {"step": "0", "loss": "4.0", "accuracy": ""},
        {"step": "1", "loss": "", "accuracy": "0.5"},
        {"step": "2", "loss": "1.0", "accuracy": "0.75"},
    ]
    assert history.column("loss") == ([0, 2], [4.0, 1.0])
    assert history.column("accuracy") == ([1, 2], [0.5, 0.75])
    assert history.column("nothing") == ([], [])
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False), max_size=4), max_size=6))
def test_history_of_any_columns_is_the_same_in_memory_and_on_disk(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history = History(path)
    for step, row in enumerate(rows):
        history.add(step, row)
    on_disk = read_csv(path) if rows else []
    assert [{key: float(text) for key, text in row.items() if text} for row in on_disk] == history.rows
    for name in "abcd":
        steps, values = history.column(name)
        assert steps == [step for step, row in enumerate(rows) if name in row]
        assert values == [row[name] for row in rows if name in row]


def test_history_without_a_file_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = History(None)
    history.add(0, {"loss": 1.0})
    assert history.rows == [{"step": 0, "loss": 1.0}]
    assert list(tmp_path.iterdir()) == []


def written(path: Path, steps: int) -> History:
    history = History(path)
    for step in range(steps):
        history.add(10 * step, {"loss": 1 / (step + 1)})
    return history


def test_a_history_that_is_read_is_the_one_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history, before = written(path, 3), path.read_bytes()
    read = History.read(path)
    assert read.rows == history.rows
    assert read.column("loss") == ([0, 10, 20], [1.0, 0.5, 1 / 3])
    read.add(30, {"loss": 0.25, "accuracy": 0.5})
    assert path.read_bytes() == before, "a reader changes no file"
    with pytest.raises(FileNotFoundError):
        History.read(tmp_path / "none.csv")


def test_rows_after_the_kept_state_are_removed_and_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    written(path, 5)
    resumed = History(path)
    resumed.resume(20)
    assert [row["step"] for row in resumed.rows] == [0, 10, 20]
    assert [row["step"] for row in read_csv(path)] == ["0", "10", "20"]
    resumed.add(20, {"loss": 7.0})
    resumed.add(30, {"loss": 0.25})
    assert resumed.column("loss") == ([0, 10, 20, 30], [1.0, 0.5, 1 / 3, 0.25])
    assert History.read(path).rows == resumed.rows


@pytest.mark.parametrize("torn", ["30,0.2", "30,x\n", "30,0.2\n4", "x,0.2\n"])
def test_what_a_killed_process_wrote_in_part_is_dropped(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    written(path, 3)
    with path.open("a", encoding="utf-8") as file:
        file.write(torn)
    whole = [0, 10, 20, 30] if torn == "30,0.2\n4" else [0, 10, 20]
    resumed = History(path)
    resumed.resume(100)
    assert [row["step"] for row in resumed.rows] == whole
    assert [int(row["step"]) for row in read_csv(path)] == whole


def test_there_may_be_nothing_to_resume(tmp_path: Path) -> None:
    for path in (None, tmp_path / "history.csv"):
        history = History(path)
        history.resume(10)
        assert history.rows == []
        history.add(0, {"loss": 1.0})
        assert history.column("loss") == ([0], [1.0])


def test_bytes_that_are_no_text_end_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(b"step,loss\n0,4.0\n1,\xff\xfe\n2,1.0\n")
    assert History.read(path).rows == [{"step": 0, "loss": 4.0}]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path / "history.csv")
    history.add(0, {"loss": 4.0})

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*history\.csv'$"):
        history.add(1, {"loss": 1.0})
