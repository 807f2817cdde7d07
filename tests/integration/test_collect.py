import re
import runpy
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple, Protocol

import polars
import pytest
from commandline import QUIET, SMALL, Train, result

SCRIPT = Path(__file__).parents[2] / "scripts" / "collect.py"
SWEEP = ("-m", *SMALL, "method=svd,bottleneck", "rank=1,2", "seed=0,1", *QUIET)


class Printed(NamedTuple):
    code: str | int | None
    stdout: str
    stderr: str


class Collect(Protocol):
    def __call__(self, *arguments: str) -> Printed: ...


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Collect:
    def run(*arguments: str) -> Printed:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
        capfd.readouterr()
        code: str | int | None = None
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        return Printed(code, *capfd.readouterr())

    return run


def test_sweeps_become_one_table(train: Train, collect: Collect, tmp_path: Path) -> None:
    ended = train(*SWEEP)
    single = train(*SMALL, "method=completion", "rank=2", *QUIET)
    assert ended.code == single.code == 0, ended.stderr
    printed = collect("multirun", "outputs", "--out", "tables/results.parquet")
    assert printed == (None, "9 jobs (9 completed) from 2 folders: tables/results.parquet\n", "")
    table = polars.read_parquet("tables/results.parquet")
    assert table.columns[:3] == ["method", "rank", "seed"] and "data.observed" in table.columns
    rows = {tmp_path / row["folder"]: row for row in table.to_dicts()}
    assert rows.keys() == {*ended.folders, *single.folders}
    for folder, row in rows.items():
        written = result(folder)
        assert {name: row[name] for name in row.keys() & written.keys()} == {
            name: value for name, value in written.items() if name in row
        }
        assert [row["rows"], row["cols"]] == written["shape"]
        assert row["optimizer._target_"] == written["config"]["optimizer"]["_target_"]

    printed = collect("multirun", "outputs", "--out", "results.csv")
    assert printed.stdout == "9 jobs (9 completed) from 2 folders: results.csv\n"
    assert polars.read_csv("results.csv")["loss"].to_list() == table["loss"].to_list()


def test_without_a_file_the_means_over_seeds_are_printed(train: Train, collect: Collect) -> None:
    ended = train(*SWEEP)
    printed = collect("multirun")
    assert (printed.code, printed.stderr) == (None, "")
    lines = printed.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and lines[-1] == "8 jobs (8 completed) from 1 folder"
    for method in ("svd", "bottleneck"):
        for rank in (1, 2):
            jobs = [result(folder) for folder in ended.folders]
            jobs = [job for job in jobs if (job["method"], job["rank"]) == (method, rank)]
            errors = [job["relative_frobenius"] for job in jobs]
            (line,) = [line for line in lines if re.match(rf"{method} +{rank} ", line)]
            shown = re.findall(r"(\d\.\d{4}) ± (\d\.\d{4})", line)[1]
            assert shown == (f"{statistics.mean(errors):.4f}", f"{statistics.stdev(errors):.4f}")


def test_failures_are_counted_and_what_is_not_whole_is_said(train: Train, tmp_path: Path) -> None:
    ended = train("-m", *SMALL, "method=svd", "rank=2,30", *QUIET)
    assert ended.code == 1
    (tmp_path / "multirun" / "torn").mkdir()
    (tmp_path / "multirun" / "torn" / "result.json").write_text('{"status": "comp', encoding="utf-8")
    # pytest keeps warnings to itself, so this is a process of its own.
    command = [sys.executable, str(SCRIPT), "multirun", "--out", "results.csv"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout == "2 jobs (1 completed, 1 failed) from 1 folder: results.csv\n"
    (line,) = printed.stderr.splitlines()
    assert line.startswith("warning: multirun/torn/result.json is left out: ")
    errors = polars.read_csv("results.csv").filter(polars.col("status") == "failed")["error"].to_list()
    assert errors == ["The rank must satisfy 1 <= rank <= min(m, n) = 9. Found 30."]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("empty", "--out", "results.xlsx"), "The table must end in .parquet or .csv. Found results.xlsx."),
        (("empty",), "There is no result of a run below empty."),
        (("empty", "--out", "results.csv"), "There is no result of a run below empty."),
        (("empty", "nowhere"), "There is no folder nowhere."),
    ],
)
def test_what_cannot_be_collected_is_one_line(
    arguments: tuple[str, ...], line: str, collect: Collect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    # What an exit carries as text, the interpreter prints on standard error, and exits with 1.
    assert collect(*arguments) == (line, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
