"""A process that receives SIGINT or SIGTERM ends at once, keeps its state, and prints the command that resumes."""

import functools
import hashlib
import os
import shlex
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commandline import result
from forked import Command, fork, replace, run, start
from pytest import MonkeyPatch
from wandb_records import read_run

pytestmark = pytest.mark.processes

# The documented limit is 2 seconds; a busy machine gets twice as much.
LIMIT = 4.0
SINGLE = ("method=factorization", "data=uniform", "data.rows=12", "data.cols=9", "figures=false", "logger=csv")
STEPS = ("optimizer=adam", "method.max_steps=40", "method.tolerance=0")
# Two stacks of two jobs, each of 40 steps.
SWEEP = ("-m", *SINGLE, *STEPS, "rank=1,2", "seed=0,1", "hydra.launcher.jobs=2")
BASIC = (*SWEEP[:-1], "hydra/launcher=basic")
CLASSIFIER = ("-m", "method=classifier", "data=digits", "rank=2,3", "method.epochs=2", "figures=false", "logger=csv")
ADVANCE = "eckart.methods.matrix.MatrixMethod.scheduled"
INTERRUPTED, DONE = ("failed", "interrupted"), ("completed", None)


def ask_to_end(patch: MonkeyPatch, where: str, call: int, number: int) -> None:
    """Send the process a signal at the nth call of a function: before the call, or after it if n is negative."""
    calls = 0

    def asking(honest: Any) -> Any:
        @functools.wraps(honest)
        def asked(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            answer = honest(*arguments, **keywords) if calls == -call else None
            if calls == abs(call):
                Path("asked").touch()
                os.kill(os.getpid(), number)
            return answer or honest(*arguments, **keywords)

        return asked

    replace(patch, where, asking)


def check_end(command: Command, number: int, asked: float) -> list[str]:
    """Check how a command ended, and return the arguments of the command that resumes it."""
    assert command.end() == 128 + number, command.stderr
    assert command.said - asked < LIMIT
    (line,) = [line for line in command.stderr.splitlines() if not line.lstrip().startswith(("#", "Launching"))]
    head, _, how = line.partition(": ")
    program, script, *arguments = shlex.split(how)
    assert (head, program, Path(script).name) == ("interrupted; to resume", "python", "train.py")
    return arguments


def ends(folder: Path) -> Counter[tuple[str, str | None]]:
    found = [result(path.parent) for path in folder.rglob("result.json")]
    return Counter((written["status"], written["error"]) for written in found)


def written(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("result.json")
        if result(path.parent)["status"] == "completed"
    }


@pytest.mark.parametrize(
    ("arguments", "where", "call", "left"),
    [
        ((*SINGLE, *STEPS, "rank=2"), ADVANCE, 14, {INTERRUPTED: 1}),
        ((*SINGLE, "optimizer=als", "rank=2"), ADVANCE, 1, {INTERRUPTED: 1}),
        ((*SINGLE, "rank=2"), "eckart.methods.matrix.MatrixMethod.configure_optimizers", 1, {INTERRUPTED: 1}),
        ((*SINGLE, "rank=2"), "eckart.runs.callbacks.LastState.on_train_end", 1, {INTERRUPTED: 1}),
        ((*SINGLE, "rank=2", "figures=true"), "eckart.runs.drawing.draw", 1, {DONE: 1}),
        (SWEEP, "eckart.runs.job.Job.completed", 3, {}),
        (SWEEP, ADVANCE, 54, {DONE: 2, INTERRUPTED: 2}),
        (SWEEP, "safetensors.torch.save", 4, {DONE: 3, INTERRUPTED: 1}),
        (SWEEP, "eckart.results.result.write_result", -3, {DONE: 3, INTERRUPTED: 1}),
        (SWEEP, "eckart.results.summary.sweep_table", 1, {DONE: 4}),
        (BASIC, "eckart.sweeps.attempt.attempt", 2, {DONE: 1}),
        (CLASSIFIER, "eckart.nn.descent.descend", 3, {DONE: 1, INTERRUPTED: 1}),
    ],
)
def test_whatever_it_is_doing(
    arguments: tuple[str, ...], where: str, call: int, left: dict[Any, int], tmp_path: Path
) -> None:
    number = (signal.SIGINT, signal.SIGTERM)[call % 2]
    before = functools.partial(ask_to_end, where=where, call=call, number=number)
    ended = run(tmp_path, *arguments, before=before)
    rest = check_end(ended, number, (tmp_path / "asked").stat().st_mtime)
    assert ends(tmp_path) == left
    kept = written(tmp_path)
    jobs = 1 if "-m" not in arguments else 2 if arguments is CLASSIFIER else 4
    resumed = run(tmp_path, *rest)
    assert resumed.status == 0, resumed.stderr
    assert ends(tmp_path) == {DONE: jobs}
    assert kept.items() <= written(tmp_path).items()


@pytest.mark.parametrize(
    ("where", "call", "codes"),
    [
        ("wandb.init", 4, [0, 0, 1]),
        (ADVANCE, 54, [0, 0, 1, 1]),
        ("eckart.tracking.live.WandbTracker.finish", 4, [0, 0, 0, 1]),
        ("eckart.tracking.live.WandbTracker.finish", -4, [0, 0, 0, 0]),
    ],
)
def test_wandb_runs_are_finished(where: str, call: int, codes: list[int], tmp_path: Path) -> None:
    arguments = (*SWEEP[:-1], "logger=wandb", "hydra.launcher.jobs=2")
    before = functools.partial(ask_to_end, where=where, call=call, number=signal.SIGTERM)
    ended = run(tmp_path, *arguments, before=before)
    check_end(ended, signal.SIGTERM, (tmp_path / "asked").stat().st_mtime)
    assert sorted(str(read_run(path).exit_code) for path in tmp_path.rglob("run-*.wandb")) == sorted(map(str, codes))


def stay_in_a_call(patch: MonkeyPatch) -> None:
    """Keep the process for minutes in a call that no signal ends, such as the SVD of a large matrix."""

    def stay(*_: object) -> None:
        Path("asked").touch()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**30)

    patch.setattr("eckart.methods.matrix.MatrixMethod.configure_optimizers", stay)


def test_in_a_call_that_cannot_be_left(tmp_path: Path) -> None:
    command = fork(tmp_path, *SWEEP[:-1], "logger=wandb", before=stay_in_a_call)
    command.wait_for((tmp_path / "asked").exists)
    time.sleep(0.1)
    asked = time.time()
    for _ in range(2):
        command.send(signal.SIGINT)
    check_end(command, signal.SIGINT, asked)
    assert ends(tmp_path) == {INTERRUPTED: 4}
    assert [read_run(path).exit_code for path in tmp_path.rglob("run-*.wandb")] == [1] * 4


def test_a_process_of_its_own(tmp_path: Path) -> None:
    command = start(tmp_path, *SINGLE[:-1], "logger=wandb", "optimizer=adam", "rank=2", "method.max_steps=10000000")
    command.wait_for(lambda: any(tmp_path.rglob("history.csv")))
    asked = time.time()
    command.send(signal.SIGTERM)
    check_end(command, signal.SIGTERM, asked)
    assert ends(tmp_path) == {INTERRUPTED: 1}
    (record,) = tmp_path.rglob("run-*.wandb")
    assert read_run(record).exit_code == 1


def test_while_it_imports(tmp_path: Path) -> None:
    command = start(tmp_path, *SWEEP)
    command.wait_for(lambda: any(tmp_path.rglob("overrides.yaml")))
    asked = time.time()
    command.send(signal.SIGINT)
    rest = check_end(command, signal.SIGINT, asked)
    assert run(tmp_path, *rest).status == 0
    assert ends(tmp_path) == {DONE: 4}
