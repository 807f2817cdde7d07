"""A sweep that is killed at random moments, again and again, ends with the results of one that is not killed."""

import csv
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import result
from forked import Command, fork, start
from safetensors import safe_open

from eckart.results.result import FACTORS, RESULT

pytestmark = pytest.mark.processes

SWEEP = ("-m", "method=factorization,bottleneck", "data=uniform", "data.rows=10", "data.cols=10", "logger=csv")
TIMES = {"fit_seconds", "total_seconds"}
MOMENTS = random.Random(0)


def test_a_sweep_killed_three_times_is_the_sweep(tmp_path: Path) -> None:
    arguments = ("rank=1,2", "seed=range(5)", "hydra.launcher.jobs=5")
    kill_and_compare(tmp_path, fork, (*SWEEP, *arguments), jobs=20, kills=3)


@pytest.mark.kill
def test_a_sweep_of_200_jobs_killed_20_times_is_the_sweep(tmp_path: Path) -> None:
    arguments = ("rank=range(1,5)", "seed=range(25)", "hydra.launcher.jobs=10")
    kill_and_compare(tmp_path, start, (*SWEEP, *arguments), jobs=200, kills=20)


def kill_and_compare(
    folder: Path, begin: Callable[..., Command], arguments: tuple[str, ...], *, jobs: int, kills: int
) -> None:
    whole = folder / "whole"
    started = time.monotonic()
    command = begin(folder, *arguments, f"hydra.sweep.dir={whole}")
    command.wait_for(lambda: trains(whole, 0))
    begun = time.monotonic()
    assert command.end(timeout=300) == 0, command.stderr
    seconds = begun - started, time.monotonic() - begun
    assert len(completed(whole)) == jobs
    done = 0
    while done < kills:
        # One sweep is killed each time, unless it completes sooner than the one that was timed.
        broken = folder / f"broken after {done}"
        done += kill_again_and_again(broken, begin, arguments, jobs, kills - done, seconds)
        before = completed(broken)
        command = begin(folder, *arguments, f"hydra.sweep.dir='{broken}'")
        assert command.end(timeout=300) == 0, command.stderr
        assert before.items() <= completed(broken).items()
        assert names(broken) == names(whole)
        for job in completed(whole):
            assert contents(broken / job) == contents(whole / job)


def kill_again_and_again(
    sweep: Path,
    begin: Callable[..., Command],
    arguments: tuple[str, ...],
    jobs: int,
    kills: int,
    seconds: tuple[float, float],
) -> int:
    """Kill a sweep until it was killed ``kills`` times or completed; return how often it was killed."""
    before = dict[str, int]()
    starting, training = seconds
    for number in range(kills):
        now = time.time_ns()
        command = begin(sweep.parent, *arguments, f"hydra.sweep.dir='{sweep}'")
        if number % 4 == 3:
            time.sleep(MOMENTS.uniform(0, starting))
        else:
            # The moments are spread over the remaining time, so that each finds the sweep at work.
            command.wait_for(lambda now=now: trains(sweep, now))  # type: ignore[misc]
            left = training * (1 - len(before) / jobs)
            time.sleep(MOMENTS.uniform(0, 2) * left / (kills - number + 1))
        command.kill()
        after = completed(sweep)
        assert before.items() <= after.items(), "what was completed was lost or computed again"
        before = after
        if command.status != -signal.SIGKILL:
            assert len(before) == jobs, command.stderr
            return number
    return kills


def trains(sweep: Path, since: int) -> bool:
    return any(path.stat().st_mtime_ns > since for path in sweep.glob("*/history.csv"))


def completed(sweep: Path) -> dict[str, int]:
    """When each result was written; every result must be complete."""
    written = {}
    for path in sweep.glob(f"*/{RESULT}"):
        assert result(path.parent)["status"] == "completed"
        with safe_open(path.parent / FACTORS, framework="numpy") as factors:
            assert set(factors.keys()) == {"left", "right"}
        written[path.parent.name] = path.stat().st_mtime_ns
    return written


def names(sweep: Path) -> set[str]:
    """All files except the states of stacks, which can be left over when another stack trained the jobs.

    And except previews, which are drawn after the result: a process that is killed between the two leaves none.
    """
    every = (path for path in sweep.rglob("*") if ".stacks" not in path.parts and path.name != "preview.png")
    return {str(path.relative_to(sweep)) for path in every}


def contents(job: Path) -> tuple[dict[str, Any], bytes, list[list[str]]]:
    figures = {field: value for field, value in result(job).items() if field not in TIMES}
    with (job / "history.csv").open(newline="") as history:
        return figures, (job / FACTORS).read_bytes(), list(csv.reader(history))
