"""Training in two processes: the same steps and numbers as in one process, and each file is written once."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import Ended, Train, history, result
from omegaconf import OmegaConf

from eckart.runs.job import Job
from eckart.runs.stack import Stack
from eckart.sweeps.workers import workers

pytestmark = pytest.mark.processes

TOGETHER = "trainer=ddp", "logger=wandb", "figures=true"
SAME = ("status", "rank", "shape", "steps", "stop_reason", "numerical_rank", "parameters")
FIGURES = ("loss", "relative_2norm", "relative_frobenius")


def check_same(together: Path, alone: Path, rtol: float) -> None:
    """Compare what two processes have written with what one process has."""
    found, expected = result(together), result(alone)
    assert {key: found[key] for key in SAME} == {key: expected[key] for key in SAME}
    np.testing.assert_allclose([found[key] for key in FIGURES], [expected[key] for key in FIGURES], rtol=rtol)
    rows, expected_rows = history(together), history(alone)
    assert len(rows) == len(expected_rows)
    for row, expected_row in zip(rows, expected_rows, strict=True):
        found_numbers, expected_numbers = (
            [float(value) for value in line.values() if value] for line in (row, expected_row)
        )
        np.testing.assert_allclose(found_numbers, expected_numbers, rtol=rtol, atol=1e-12)
    assert (together / "factors.safetensors").is_file()
    assert sorted(path.name for path in (together / "figures").iterdir())


def check_written_once(ended: Ended, root: Path, jobs: int, before: set[Path]) -> None:
    """Compare the number of folders, W&B runs and printed lines with the number of jobs."""
    assert (ended.code, ended.stderr) == (0, "")
    assert len(ended.folders) == jobs
    runs = [run for place in root.rglob("wandb") for run in place.glob("offline-run-*")]
    assert len(runs) == len({result(folder)["wandb_run"] for folder in ended.folders}) == jobs
    # There is one folder for the run or the sweep, and no other.
    assert len({path for path in root.glob("*/*/*") if path.is_dir()} - before) == 1
    for folder in ended.folders:
        assert ended.stdout.count(f"{folder.name}\n") == 1


def test_two_processes_train_bottleneck_nets_as_one_does(train: Train, tmp_path: Path) -> None:
    # An odd number of probes in odd batches: no two shares are the same.
    command = ["-m", "method=bottleneck", "data=uniform", "data.rows=8", "data.cols=7", "rank=3"]
    command += ["method.probes=uniform", "method.vectors=41", "method.batch_size=9", "method.max_steps=40"]
    command += ["optimizer=adam,riemannian_cg"]
    alone = train(*command, "trainer=cpu", "logger=csv")
    before = set(tmp_path.glob("*/*/*"))
    together = train(*command, *TOGETHER)
    check_written_once(together, tmp_path, 2, before)
    for found, expected in zip(sorted(together.folders), sorted(alone.folders), strict=True):
        assert found.name == expected.name
        check_same(found, expected, rtol=1e-9)


def test_two_processes_train_a_classifier_as_one_does(train: Train, tmp_path: Path) -> None:
    command = ["method=classifier", "data=digits", "data.pixels=scaled", "data.batch_size=99", "rank=8"]
    command += ["method.epochs=2", "optimizer=adam", "trainer.precision=64-true"]
    alone = train(*command, "trainer=cpu", "logger=csv")
    before = set(tmp_path.glob("*/*/*"))
    together = train(*command, *TOGETHER)
    check_written_once(together, tmp_path, 1, before)
    check_same(together.folder, alone.folder, rtol=1e-9)
    found, expected = together.result, alone.result
    assert found["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(found["train_loss_sum_per_epoch"], expected["train_loss_sum_per_epoch"], rtol=1e-9)


@pytest.mark.parametrize(
    ("trainer", "environment", "wanted"),
    [
        ({"devices": 2, "strategy": "ddp"}, {}, True),
        ({"devices": 2, "strategy": "auto"}, {}, True),
        ({"devices": 1, "strategy": "auto"}, {}, False),
        ({"devices": 2, "strategy": "fsdp"}, {}, False),
        ({"devices": "auto", "strategy": "ddp"}, {}, False),
        ({"devices": 2, "strategy": "ddp"}, {"LOCAL_RANK": "1"}, False),
        ({"devices": 2, "strategy": "ddp"}, {"SLURM_NTASKS": "2"}, False),
    ],
)
def test_processes_are_started_where_nobody_else_does(
    trainer: dict[str, Any], environment: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Started(Exception):
        pass

    def start(threads: str) -> None:
        started.append(threads)
        raise Started

    monkeypatch.setattr("eckart.sweeps.workers._start", start)
    monkeypatch.setattr("eckart.sweeps.workers._idle", {})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stack = Stack([Job(OmegaConf.create({"trainer": trainer}), {}, Path())])
    with contextlib.suppress(Started), workers(stack):
        assert not wanted
    assert len(started) == int(wanted)
