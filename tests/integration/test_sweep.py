from pathlib import Path

import numpy as np
import pytest
from commandline import QUIET, SMALL, Ended, Train, result
from wandb_records import read_run

SQUARE = ("data=uniform", "data.rows=10", "data.cols=10")


def names(ended: Ended) -> set[str]:
    return {folder.name for folder in ended.folders}


def test_a_failed_job_stops_no_other(train: Train, tmp_path: Path) -> None:
    ended = train("-m", "method=svd,factorization", *SQUARE, "rank=2,30", "logger=wandb", "figures=false")
    assert ended.code == 1
    (sweep,) = {folder.parent for folder in ended.folders}
    assert sweep.is_relative_to(tmp_path / "multirun")
    law = "The rank must satisfy 1 <= rank <= min(m, n) = 10. Found 30."
    for method in ("svd", "factorization"):
        done, failed = (result(sweep / f"method={method},rank={rank}") for rank in (2, 30))
        assert (done["status"], done["error"], done["method"]) == ("completed", None, method)
        assert (failed["status"], failed["error"], failed["rank"]) == ("failed", law, 30)
        assert f"{sweep.name}/method={method},rank=2" in ended.stdout
    assert names(ended) == {f"method={method},rank={rank}" for method in ("svd", "factorization") for rank in (2, 30)}

    # What fails is said at once, before the next job, and again at the end.
    failures = [number for number, line in enumerate(ended.stderr.splitlines()) if law in line]
    starts = [number for number, line in enumerate(ended.stderr.splitlines()) if line.strip().startswith("#")]
    assert starts[1] < failures[0] < starts[2] and len(failures) == 4
    assert "2 jobs failed" in ended.stderr and "Traceback" not in ended.stderr

    assert [path.parent for path in tmp_path.rglob("wandb")] == [sweep]
    runs = [read_run(path) for path in sorted(sweep.glob("wandb/offline-run-*/run-*.wandb"))]
    assert {run.name for run in runs} == {f"{method}-uniform-rank2-seed0" for method in ("svd", "factorization")}
    assert {run.group for run in runs} == {sweep.name}
    assert [run.exit_code for run in runs] == [0, 0]


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
    assert "rank must be an integer. Found 'ten'." in ended.stderr
