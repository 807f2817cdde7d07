"""Resuming: completed jobs are not run again, and an interrupted run ends with the results of an uninterrupted one."""

import csv
import functools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import SMALL, Train, result
from forked import replace, run
from pytest import MonkeyPatch
from safetensors.torch import save
from torch import Tensor

from eckart.methods import driven
from eckart.methods.classifier import Classifier
from eckart.methods.matrix import MatrixMethod
from eckart.methods.problems import PassesProblem
from eckart.runs import fingerprint
from eckart.runs.callbacks import LastState

pytestmark = pytest.mark.processes

Die = Callable[..., None]
TIMES = ("fit_seconds", "total_seconds")
LEFT = ("logger=csv", "figures=false")
SHAPE = ("data=gaussian", "data.rows=20", "data.cols=15")
DATA = (*SHAPE, "rank=3", "method.record_every=10")
# Each with a step in the middle of a block.
LONG = {
    "adam": (14, ("method=factorization", "optimizer=adam", "schedule=cosine", *DATA, "method.max_steps=40")),
    "fresh probes": (14, ("method=bottleneck", "optimizer=adam", "method.vectors=null", *DATA, "method.max_steps=40")),
    "riemannian_cg": (14, ("method=bottleneck", "optimizer=riemannian_cg", *DATA, "method.tolerance=1e-6")),
    "als": (3, ("method=completion", "optimizer=als", "data.observed=0.9", *DATA[:-1], "method.record_every=2")),
    "lbfgs": (1, ("method=factorization", "optimizer=lbfgs", *DATA[:-1], "method.tolerance=1e-6")),
    "classifier": (60, ("method=classifier", "data=digits", "rank=4", "method.epochs=4")),
}
STACK = ("-m", "method=factorization", *SHAPE, "rank=1,2,3", "seed=0,1", "method.record_every=10", *LEFT)
# The members stop, or diverge, at different steps.
STACKS = {
    "exact": (24, (*STACK, "method.tolerance=1e-6")),
    "adam": (54, (*STACK, "optimizer=adam", "optimizer.lr=0.05", "method.tolerance=1e-2", "method.max_steps=200")),
    "diverging": (144, (*STACK, "optimizer=entrywise_sgd", "optimizer.lr=0.045", "method.max_steps=200")),
}
SWEEP = ("-m", "method=svd,factorization", *SMALL, "rank=1,2", "logger=none", "hydra.sweep.dir=sweep")
ALL = {f"method={method},rank={rank}" for method in ("svd", "factorization") for rank in (1, 2)}


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_step(patch: MonkeyPatch, step: int) -> None:
    scheduled, of_block, passes = MatrixMethod.scheduled, Classifier._take_block, PassesProblem.advance_to

    def step_or_die(self: MatrixMethod, number: int) -> Any:
        return die() if number == step else scheduled(self, number)

    def train_or_die(self: Classifier, optimizer: Any, x: Tensor, labels: Tensor, size: int) -> Any:
        inside = self.step_count <= step < self.step_count + -(-len(labels) // size)
        return die() if inside else of_block(self, optimizer, x, labels, size)

    def pass_or_die(self: PassesProblem, number: int, stop: int, active: Tensor) -> Any:
        return die() if number <= step < stop else passes(self, number, stop, active)

    patch.setattr(MatrixMethod, "scheduled", step_or_die)
    patch.setattr(PassesProblem, "advance_to", pass_or_die)
    patch.setattr(Classifier, "_take_block", train_or_die)


def die_between_blocks(patch: MonkeyPatch, step: int) -> None:
    patch.setattr(LastState, "_due", lambda _: True)
    die_in_step(patch, step)


def die_within_a_block(patch: MonkeyPatch, step: int) -> None:
    patch.setattr(driven, "_PATIENCE", 0.0)
    die_between_blocks(patch, step)


def die_after_the_last_step(patch: MonkeyPatch, step: int) -> None:
    replace(patch, "eckart.runs.measuring.measure", lambda _: die)


def die_among_the_results(patch: MonkeyPatch, step: int) -> None:
    left = 2

    def save_two(factors: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            die()
        return save(factors, metadata)

    replace(patch, "safetensors.torch.save", lambda _: save_two)


def contents(job: Path) -> tuple[dict[str, Any], bytes, list[list[str]]]:
    """All that a run writes except times and the config."""
    figures = {field: value for field, value in result(job).items() if field not in (*TIMES, "config")}
    with (job / "history.csv").open(newline="") as history:
        return figures, (job / "factors.safetensors").read_bytes(), list(csv.reader(history))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a command that was not interrupted."""

    @functools.cache
    def made(*arguments: str) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        run(folder, *arguments, f"hydra.{'sweep' if '-m' in arguments else 'run'}.dir=whole")
        return folder / "whole"

    return made


# The others take the same way through the code: pytest -m kill.
OFTEN, SLOW = ("adam", "riemannian_cg", "classifier"), [pytest.mark.kill]


@pytest.mark.parametrize(
    ("method", "die"),
    [
        *(pytest.param(method, die_within_a_block, marks=[] if method in OFTEN else SLOW) for method in LONG),
        *(("riemannian_cg", die) for die in (die_in_step, die_after_the_last_step)),
        pytest.param("riemannian_cg", die_between_blocks, marks=SLOW),
    ],
)
def test_a_killed_run_resumes_to_the_same_results(
    method: str, die: Die, whole: Callable[..., Path], tmp_path: Path
) -> None:
    step, arguments = LONG[method]
    arguments = (*arguments, *LEFT)
    killed = run(tmp_path, *arguments, before=functools.partial(die, step=step))
    assert killed.status == -signal.SIGKILL
    (folder,) = tmp_path.glob("outputs/*/*")
    assert not (folder / "result.json").exists()
    resumed = run(tmp_path, *arguments, "resume=latest" if die is die_in_step else f"resume={folder}")
    assert (resumed.status, resumed.stderr) == (0, "")
    assert list(tmp_path.glob("outputs/*/*")) == [folder]
    assert contents(folder) == contents(whole(*arguments))


@pytest.mark.parametrize(
    ("stack", "die"),
    [
        ("exact", die_within_a_block),
        ("exact", die_among_the_results),
        pytest.param("adam", die_within_a_block, marks=SLOW),
        ("diverging", die_between_blocks),
    ],
)
def test_a_killed_stack_resumes_to_the_same_results(
    stack: str, die: Die, whole: Callable[..., Path], tmp_path: Path
) -> None:
    step, arguments = STACKS[stack]
    broken = (*arguments, "hydra.sweep.dir=broken")
    assert run(tmp_path, *broken, before=functools.partial(die, step=step)).status == -signal.SIGKILL
    assert run(tmp_path, *broken).status == (stack == "diverging")
    jobs = sorted(whole(*arguments).glob("*/"))
    assert len(jobs) == 6 and len({result(job)["steps"] for job in jobs}) > 1
    assert sorted(path.name for path in tmp_path.glob("broken/*/")) == [job.name for job in jobs]
    assert not list(tmp_path.glob("broken/.*"))
    for job in jobs:
        assert contents(tmp_path / "broken" / job.name) == contents(job)


def test_a_state_or_history_that_was_cut_off_is_no_state(whole: Callable[..., Path], tmp_path: Path) -> None:
    step, arguments = LONG["riemannian_cg"]
    arguments = (*arguments, *LEFT)
    broken = (*arguments, "hydra.run.dir=broken")
    assert run(tmp_path, *broken, before=functools.partial(die_between_blocks, step=step)).status == -signal.SIGKILL
    checkpoint, history = (tmp_path / "broken" / name for name in ("last.ckpt", "history.csv"))
    written = history.read_text()
    assert [line.split(",")[0] for line in written.splitlines()] == ["step", "0", "10"]
    # The last line is incomplete, as after a process that was killed while it wrote.
    history.write_text(f"{written}1")
    assert run(tmp_path, *arguments, "resume=broken").status == 0
    assert contents(tmp_path / "broken") == contents(whole(*arguments))
    (tmp_path / "broken" / "result.json").unlink()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    assert run(tmp_path, *arguments, "resume=broken").status == 0
    assert contents(tmp_path / "broken") == contents(whole(*arguments))


def test_a_run_from_a_checkpoint_resumes_from_its_own_state(tmp_path: Path) -> None:
    step, arguments = LONG["riemannian_cg"]
    arguments = (*arguments, *LEFT)
    assert run(tmp_path, *arguments, "method.max_steps=5", "hydra.run.dir=part").status == 0
    arguments = (*arguments, "ckpt=part/last.ckpt", "hydra.run.dir=broken")
    within = functools.partial(die_within_a_block, step=step)
    assert run(tmp_path, *arguments, before=within).status == -signal.SIGKILL
    # It does not repeat the steps before its state.
    resumed = run(tmp_path, *arguments, "resume=broken", before=functools.partial(die_in_step, step=7))
    assert (resumed.status, resumed.stderr) == (0, "")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders of the jobs that are trained from now on."""
    from eckart.runs import run as module

    names: list[str] = []
    honest = module.run

    def recorded(stack: Any) -> Any:
        names.extend(job.folder.name for job in stack.jobs)
        return honest(stack)

    monkeypatch.setattr(module, "run", recorded)
    return names


def test_a_sweep_that_is_completed_trains_nothing(train: Train, trained: list[str], tmp_path: Path) -> None:
    first = train(*SWEEP)
    assert first.code == 0 and set(trained) == ALL
    trained.clear()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/result.json")}
    for again in (SWEEP, (*SWEEP, "trainer.enable_progress_bar=false"), (*SWEEP, "hydra/launcher=basic")):
        ended = train(*again)
        assert (ended.code, trained) == (0, [])
        assert ended.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/result.json")} == written


def test_more_jobs_leave_those_that_are_completed(train: Train, trained: list[str]) -> None:
    train(*SWEEP)
    trained.clear()
    ended = train(*SWEEP, "rank=1,2,3")
    assert ended.code == 0 and set(trained) == {"method=svd,rank=3", "method=factorization,rank=3"}


@pytest.mark.parametrize("change", ["source", "config", "what does not count"])
def test_what_is_changed_is_run_again(
    change: str, train: Train, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(*SWEEP)
    trained.clear()
    if change == "source":
        monkeypatch.setattr(fingerprint, "source_digest", lambda: "another")
    changed = {"config": ("data.scale=2",), "what does not count": ("figures=true", "name=x")}.get(change, ())
    assert train(*SWEEP, *changed).code == 0
    assert set(trained) == (set() if "not" in change else ALL)


def test_a_file_that_changed_is_run_again(train: Train, trained: list[str], tmp_path: Path) -> None:
    sweep = ("-m", "data=file", "data.path=a.npy,b.npy", "method=svd", "rank=1", "logger=none", "hydra.sweep.dir=sweep")
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.eye(3))
    train(*sweep)
    trained.clear()
    np.save(tmp_path / "b.npy", np.eye(4))
    os.utime(tmp_path / "b.npy", ns=(0, 0))
    assert train(*sweep).code == 0
    assert trained == ["data.path=b.npy"]


def test_a_result_that_is_not_whole_is_none(train: Train, trained: list[str], tmp_path: Path) -> None:
    sweep = ("-m", "method=svd", *SMALL, "rank=range(1,9)", "logger=none", "hydra.sweep.dir=sweep")
    train(*sweep)
    trained.clear()
    names = [f"rank={rank}" for rank in range(1, 9)]
    paths = [tmp_path / "sweep" / name / "result.json" for name in names]
    whole = [path.read_bytes() for path in paths]
    for path, damage in zip(paths, (whole[0][:-5], b"", b"{}", b"null", b"\xff", whole[6]), strict=False):
        path.write_bytes(damage)
    paths[6].unlink()
    shutil.rmtree(paths[7].parent)
    ended = train(*sweep)
    assert (ended.code, ended.stderr, trained) == (0, "", names)
    assert [result(path.parent)["rank"] for path in paths] == list(range(1, 9))


def test_what_failed_or_diverged_is_run_again(train: Train, trained: list[str], tmp_path: Path) -> None:
    # A shape that the config does not state: the rank is held against it by the job.
    sweep = ("-m", "method=factorization", "optimizer=entrywise_sgd", "data=lab", "method.max_steps=50", "logger=none")
    asked = (*sweep, "optimizer.lr=0.001,10", "rank=1,30", "hydra.sweep.dir=sweep")
    ended = train(*asked)
    assert ended.code == 1 and {result(path)["status"] for path in tmp_path.glob("sweep/*/")} == {
        "completed",
        "failed",
        "diverged",
    }
    trained.clear()
    again = train(*asked)
    assert again.code == 1
    assert set(trained) == {f"optimizer.lr={lr},rank={rank}" for lr, rank in ((0.001, 30), (10, 1), (10, 30))}
    assert again.stderr.splitlines()[-4:] == ended.stderr.splitlines()[-4:]


def test_a_completed_run_is_shown_and_not_trained(train: Train, trained: list[str], tmp_path: Path) -> None:
    arguments = ("method=svd", *SMALL, "rank=2", *LEFT)
    first = train(*arguments)
    trained.clear()
    for resume in ("latest", first.folder):
        again = train(*arguments, f"resume={resume}")
        assert (again.code, again.stdout, again.stderr, trained) == (0, first.stdout, "", [])


def test_the_completed_run_of_another_config_is_not_overwritten(train: Train, trained: list[str]) -> None:
    first = train("method=svd", *SMALL, "rank=2", *LEFT)
    trained.clear()
    other = train("method=svd", *SMALL, "rank=3", *LEFT, f"resume={first.folder}")
    law = f"resume={first.folder} must be a run of the same config. Found one with rank=2 in place of rank=3."
    assert (other.code, other.line, trained) == (1, law, [])
    assert first.result["rank"] == 2


def test_a_completed_run_of_other_code_is_run_again(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("method=svd", *SMALL, "rank=2", *LEFT)
    first = train(*arguments)
    before = first.result["fingerprint"]
    monkeypatch.setattr(fingerprint, "source_digest", lambda: "another")
    assert train(*arguments, f"resume={first.folder}").code == 0
    assert first.result["fingerprint"] != before
