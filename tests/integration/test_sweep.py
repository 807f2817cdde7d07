from pathlib import Path

import numpy as np
import pytest
from commandline import QUIET, SMALL, Ended, Train, result
from wandb_records import read_run

METHODS = ("svd", "factorization")
SWEEP = ("method=svd,factorization", "data=uniform", "data.rows=10", "data.cols=10", "rank=2,30")
LAW = "The rank must satisfy 1 <= rank <= min(m, n) = 10. Found 30."


def names(ended: Ended) -> set[str]:
    return {folder.name for folder in ended.folders}


def check_jobs(ended: Ended) -> Path:
    """Check the folders and results of ``SWEEP``, and return the folder of the sweep."""
    assert ended.code == 1 and "Traceback" not in ended.stderr
    (sweep,) = {folder.parent for folder in ended.folders}
    assert names(ended) == {f"method={method},rank={rank}" for method in METHODS for rank in (2, 30)}
    for method in METHODS:
        done, failed = (result(sweep / f"method={method},rank={rank}") for rank in (2, 30))
        assert (done["status"], done["error"], done["method"]) == ("completed", None, method)
        assert (failed["status"], failed["error"], failed["rank"]) == ("failed", LAW, 30)
    return sweep


def test_a_failed_job_stops_no_other(train: Train, tmp_path: Path) -> None:
    ended = train("-m", *SWEEP, "logger=wandb")
    sweep = check_jobs(ended)
    shown = str(sweep.relative_to(tmp_path))
    assert shown.startswith("multirun")

    *table, blank, folder = ended.stdout.splitlines()
    assert (blank, folder) == ("", shown)
    rows = [line.split() for line in table if line.startswith(METHODS)]
    completed = {(method, int(rank)): int(count) for method, rank, count, *_ in rows}
    assert completed == {(method, rank): rank == 2 for method in METHODS for rank in (2, 30)}

    lines = ended.stderr.splitlines()
    # A failure is printed when it happens, with the overrides and the folder, and again at the end.
    typed = "data=uniform data.rows=10 data.cols=10"
    said = [f"failed: method={method} {typed} rank=30 logger=wandb: {LAW}" for method in METHODS]
    where = [f"{shown}/method={method},rank=30" for method in METHODS]
    again = f"python train.py -m method=svd,factorization {typed} rank=2,30 logger=wandb resume={shown}"
    assert lines == [
        *(line for failure, place in zip(said, where, strict=True) for line in (failure, f"  {place}")),
        f"2 of 4 jobs failed; to run them again: {again}",
        *(f"  {place}: {LAW}" for place in sorted(where)),
    ]

    assert [path.parent for path in tmp_path.rglob("wandb")] == [sweep]
    runs = [read_run(path) for path in sorted(sweep.glob("wandb/offline-run-*/run-*.wandb"))]
    assert {run.name for run in runs} == {f"{method}-uniform-rank2-seed0" for method in METHODS}
    assert {run.group for run in runs} == {sweep.name}
    assert [run.exit_code for run in runs] == [0, 0]


def test_the_basic_launcher_says_each_job(train: Train) -> None:
    ended = train("-m", *SWEEP, "logger=none", "hydra/launcher=basic")
    sweep = check_jobs(ended)
    said = [line.split(": ")[0] for line in ended.stdout.splitlines() if ": Frobenius error" in line]
    assert said == ["completed", "completed"] and ended.stdout.count(f"{sweep.name}/method=") == 2
    # A failure comes before the next job.
    events = [line.split()[0] for line in ended.stderr.splitlines() if not line.startswith("  ")]
    assert events == ["Launching", "#0", "#1", "failed:", "#2", "#3", "failed:", "2"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "data=lab", "rank=1,2", "method=svd", *QUIET),
        ("data=lab", "rank=1,2", "method=svd", *QUIET, "--multirun"),
    ],
)
def test_the_flag_stands_first_or_last(arguments: tuple[str, ...], train: Train) -> None:
    ended = train(*arguments)
    assert ended.code == 0, ended.stderr
    assert names(ended) == {"rank=1", "rank=2"}


@pytest.mark.parametrize(
    "swept",
    [
        ("data.path=sub/a.npy,sub_a.npy,../work/sub/a.npy", "name=x"),
        ("data.path=sub/a.npy", "name=a b,a_b,../a b,..,a/../../../b"),
        ("data.path=sub/a.npy", f"name=a,{'long' * 100},{'long' * 100}er"),
    ],
)
def test_each_job_has_a_folder_inside_the_sweep(
    swept: tuple[str, ...], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    monkeypatch.chdir(work)
    for path in ("sub/a.npy", "sub_a.npy"):
        np.save(work / path, np.eye(3))
    ended = train("-m", "data=file", "method=svd", "rank=1", *swept, *QUIET)
    assert ended.code == 0, ended.stderr
    (sweep,) = {folder.parent for folder in ended.folders}
    assert sweep.is_relative_to(work / "multirun")
    assert len(ended.folders) == max(value.count(",") for value in swept) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    assert {path.name for path in work.iterdir()} == {"sub", "sub_a.npy", "multirun"}


def test_a_wrong_value_in_a_sweep_is_one_line(train: Train) -> None:
    ended = train("-m", *SMALL, "method=svd", "rank=2,ten", *QUIET)
    assert ended.code == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("/rank=ten: rank must be an integer or auto. Found 'ten'.")
