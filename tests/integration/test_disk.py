"""A full or read-only disk, or a folder that is removed: one line, and completed jobs stay."""

import functools
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import result
from forked import Command, run
from pytest import MonkeyPatch
from safetensors import safe_open

from eckart.methods.matrix import MatrixMethod

pytestmark = pytest.mark.processes

SINGLE = ("method=factorization", "data=uniform", "data.rows=10", "data.cols=10", "logger=csv", "figures=false")
SWEEP = ("-m", *SINGLE, "rank=1,2", "seed=range(5)", "hydra.launcher.jobs=2", "hydra.sweep.dir=small/sweep")
BASIC = (*SWEEP[:-2], SWEEP[-1], "hydra/launcher=basic")
# Each stack takes six steps.
STEPS = ("method.tolerance=0", "method.max_steps=6")
Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount a separate disk at ``small``, or mount it again with other options."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(options: str) -> Path:
        before = "remount," if folder.is_mount() else ""
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", before + options, "tmpfs", folder], capture_output=True)
        if made.returncode:
            pytest.skip("only root can mount a disk")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def completed(folder: Path) -> dict[Path, int]:
    """When each result was written; every result must be complete."""
    found = {}
    for path in folder.rglob("result.json"):
        assert result(path.parent)["status"] == "completed"
        with safe_open(path.parent / "factors.safetensors", framework="numpy") as factors:
            assert set(factors.keys()) == {"left", "right"}
        found[path] = path.stat().st_mtime_ns
    return found


def last_line(command: Command) -> str:
    """The only line on standard error, except a sweep's lines on its jobs and warnings about W&B."""
    assert command.status == 1
    beside = ("#", "Launching", "warning: the result is whole")
    (line,) = [line for line in command.stderr.splitlines() if not line.lstrip().startswith(beside)]
    return line


def resumes(command: Command, folder: Path) -> None:
    """Run the command that the line names, and check that it completes all jobs."""
    kept = completed(folder)
    _, _, how = last_line(command).partition("; to resume: ")
    program, script, *arguments = shlex.split(how)
    assert (program, script) == ("python", "train.py")
    resumed = run(folder, *arguments)
    assert resumed.status == 0, resumed.stderr
    assert kept.items() <= completed(folder).items()


@pytest.mark.parametrize(("arguments", "size"), [(SWEEP, 100), (BASIC, 100), ((*SWEEP, "logger=wandb"), 200)])
def test_a_full_disk_ends_a_sweep(arguments: tuple[str, ...], size: int, disk: Disk, tmp_path: Path) -> None:
    disk(f"size={size}k")
    ended = run(tmp_path, *arguments)
    assert last_line(ended).startswith("No space left on device")
    assert 0 < len(completed(tmp_path)) < 10
    assert not list(tmp_path.rglob(".*.[0-9]*"))
    disk("size=50m")
    resumes(ended, tmp_path)
    assert len(completed(tmp_path)) == 10


def test_a_full_disk_ends_a_run(disk: Disk, tmp_path: Path) -> None:
    disk("size=40k")
    # The state needs more space.
    arguments = (*SINGLE, "data.rows=100", "data.cols=100", "rank=40", "hydra.run.dir=small/run")
    assert last_line(run(tmp_path, *arguments)) == f"No space left on device: {tmp_path}/small/run/last.ckpt"
    disk("size=50m")
    assert run(tmp_path, *arguments, "resume=small/run").status == 0
    assert len(completed(tmp_path)) == 1


def test_a_disk_that_can_only_be_read(disk: Disk, tmp_path: Path) -> None:
    disk("size=50m")
    assert run(tmp_path, *SWEEP).status == 0
    before = completed(tmp_path)
    disk("ro")
    ended = run(tmp_path, *SWEEP)
    assert last_line(ended).startswith("Read-only file system: ")
    assert completed(tmp_path) == before
    ended = run(tmp_path, *SINGLE, "rank=1", "hydra.run.dir=small/run")
    assert last_line(ended).startswith("Read-only file system: ")


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "small" / "sweep" / "rank=2,seed=1"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    ended = run(tmp_path, *SWEEP)
    assert last_line(ended).startswith(f"File exists: {blocked}")
    assert len(completed(tmp_path)) == 6
    blocked.unlink()
    resumes(ended, tmp_path)
    assert len(completed(tmp_path)) == 10


def remove_in_step(patch: MonkeyPatch, path: str, call: int) -> None:
    """Remove a folder of the sweep while it trains."""
    scheduled, calls = MatrixMethod.scheduled, 0

    def removing(self: MatrixMethod, step: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            shutil.rmtree(path)
        return scheduled(self, step)

    patch.setattr(MatrixMethod, "scheduled", removing)


@pytest.mark.parametrize(("path", "left"), [("small/sweep", 8), ("small/sweep/rank=1,seed=0", 9)])
def test_a_folder_that_is_removed(path: str, left: int, tmp_path: Path) -> None:
    # The second stack is in training.
    ended = run(tmp_path, *SWEEP, *STEPS, before=functools.partial(remove_in_step, path=path, call=10))
    assert ended.status == 0
    assert len(completed(tmp_path)) == left
    resumed = run(tmp_path, *SWEEP, *STEPS)
    assert resumed.status == 0, resumed.stderr
    assert len(completed(tmp_path)) == 10


def test_a_result_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "small" / "sweep" / "rank=2,seed=1" / "result.json"
    blocked.mkdir(parents=True)
    ended = run(tmp_path, *SWEEP)
    assert ended.status == 1
    said, _, counted, named = ended.stderr.splitlines()
    assert said.startswith("failed: ") and said.endswith(f"rank=2 seed=1: Is a directory: {blocked}")
    assert counted.startswith("1 of 10 jobs failed; to run them again: python train.py")
    assert named == "  small/sweep/rank=2,seed=1: its result could not be written"
