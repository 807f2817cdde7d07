"""The stacked launcher compared with Hydra's basic launcher: only the time differs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import SMALL, Train, history, result
from hydra._internal.hydra import Hydra
from hydra.core.utils import JobReturn
from launchers import Sweeps, check_figures, check_returned, timeless
from PIL import Image
from safetensors.numpy import load_file
from wandb_records import WandbRun, read_run

from eckart.methods.matrix import MatrixMethod
from eckart.runs import calibration, run
from eckart.runs.stack import Stack
from eckart.sweeps import sweep

FACTORIZATION = ("method=factorization", *SMALL, "logger=csv")
# Two jobs that differ both in rank and in seed.
PAIR = "rank=2,4 seed=${rank}"
PAPER = "optimizer=adam trainer.precision=32-true method.tolerance=0"
SHORT = "method.max_steps=20"
EXACT, ROUNDED = 1e-8, 1e-5


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the stacks that are trained."""
    sizes: list[int] = []
    train = run.run

    def counted(stack: Stack) -> list[dict[str, Any]]:
        sizes.append(len(stack.jobs))
        return train(stack)

    monkeypatch.setattr(run, "run", counted)
    return sizes


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the stacks that would be trained; none of them is."""
    sizes: list[int] = []

    def refused(stack: Stack) -> list[dict[str, Any]]:
        sizes.append(len(stack.jobs))
        return [job.fail("not trained") for job in stack.jobs]

    monkeypatch.setattr(run, "run", refused)
    return sizes


@pytest.fixture
def returned(monkeypatch: pytest.MonkeyPatch) -> list[JobReturn]:
    """What the launcher returns to the sweeper."""
    returns: list[JobReturn] = []
    multirun = Hydra.multirun

    def kept(*arguments: Any, **keywords: Any) -> Any:
        batches = multirun(*arguments, **keywords)
        returns.extend(job for batch in batches for job in batch)
        return batches

    monkeypatch.setattr(Hydra, "multirun", kept)
    return returns


@pytest.mark.parametrize(
    ("arguments", "stacks", "tolerance"),
    [
        (f"{PAIR} method=factorization optimizer=riemannian_cg,als,scaled_gd,entrywise_sgd {SHORT}", [2] * 4, EXACT),
        (f"{PAIR} method=svd,bottleneck,factorized_linear", [2] * 3, EXACT),
        (f"{PAIR} method=completion data.observed=0.8 {SHORT}", [2], EXACT),
        (f"rank=2,4 seed=0,3 method=factorization {PAPER} {SHORT}", [4], ROUNDED),
        (f"{PAIR} method=bottleneck {PAPER} {SHORT} method.vectors=64 method.batch_size=32", [2], ROUNDED),
    ],
)
@pytest.mark.processes
def test_the_same_numbers(
    arguments: str, stacks: list[int], tolerance: float, train: Train, trained: list[int]
) -> None:
    sweeps = Sweeps(train, *SMALL, "logger=csv", *arguments.split())
    assert [ended.code for ended in sweeps.ended.values()] == [0, 0]
    assert trained == stacks + [1] * sum(stacks) and len(sweeps.jobs) == sum(stacks)
    sweeps.check(tolerance)


@pytest.mark.wandb
def test_the_same_figures_and_wandb_runs(train: Train) -> None:
    arguments = ("method=factorization", *SMALL, "rank=2,3", "method.max_steps=5", "logger=wandb", "figures=true")
    sweeps = Sweeps(train, *arguments)
    sweeps.check(EXACT)
    for name in sweeps.jobs:
        drawn = {path.name for path in sweeps.each(name)[0].glob("figures/*")}
        assert drawn == {"approximation.png", "convergence.png", "singular_values.png"}
        for figure in drawn:
            found, expected = (
                np.asarray(Image.open(folder / "figures" / figure), float) for folder in sweeps.each(name)
            )
            assert found.shape == expected.shape and np.abs(found - expected).mean() < 0.1
    found_runs, expected_runs = (wandb_runs(folder) for folder in sweeps.folders.values())
    assert [run.name for run in found_runs] == [f"factorization-uniform-rank{rank}-seed0" for rank in (2, 3)]
    for found_run, expected_run in zip(found_runs, expected_runs, strict=True):
        assert (found_run.name, found_run.group, found_run.project) == (expected_run.name, "sweep", "eckart")
        assert (found_run.tags, found_run.exit_code) == (expected_run.tags, 0)
        assert timeless(found_run.config) == timeless(expected_run.config)
        assert len(found_run.history) == len(expected_run.history) > 5
        for row, expected_row in zip(found_run.history, expected_run.history, strict=True):
            check_figures(without_media(row), without_media(expected_row), EXACT)
        check_figures(without_media(found_run.summary), without_media(expected_run.summary), EXACT)
    for name, wandb_run in zip(sweeps.jobs, found_runs, strict=True):
        config = timeless(wandb_run.config)
        chosen = config.pop("choices")
        assert config == result(sweeps.each(name)[0])["config"]
        assert (chosen["method"], chosen["data"]) == ("factorization", "uniform")


def wandb_runs(sweep: Path) -> list[WandbRun]:
    return sorted(read_run(path) for path in sweep.glob("wandb/offline-run-*/run-*.wandb"))


def without_media(row: dict[str, Any]) -> dict[str, Any]:
    # A figure is recorded with the name of its copy and the hash of its pixels.
    return {key: sorted(value) if isinstance(value, dict) else value for key, value in row.items()}


@pytest.mark.processes
def test_a_member_that_diverges_harms_no_other(train: Train, trained: list[int]) -> None:
    # At this learning rate one of the seeds diverges.
    arguments = (*FACTORIZATION, "optimizer=sgd", "optimizer.lr=1.5", "method.max_steps=60", "rank=2")
    sweeps = Sweeps(train, *arguments, "seed=0,1,2")
    assert trained == [3, 1, 1, 1]
    sweeps.check(EXACT)
    found = [result(sweeps.folders["stacked"] / f"seed={seed}") for seed in range(3)]
    assert [job["status"] for job in found] == ["completed", "diverged", "completed"]
    assert found[1]["steps"] < 20 and "diverged after" in found[1]["error"]
    assert np.isfinite(load_file(sweeps.folders["stacked"] / "seed=1" / "factors.safetensors")["left"]).all()
    for ended in sweeps.ended.values():
        assert ended.code == 1 and "diverged: " in ended.stderr and "1 of 3 jobs failed" in ended.stderr

    without = train("-m", *arguments, "seed=0,2")
    for folder, expected in zip(without.folders, (found[0], found[2]), strict=True):
        check_figures(result(folder), expected, 0)


@pytest.mark.processes
def test_a_job_that_cannot_be_trained_fails_alone(train: Train, trained: list[int], returned: list[JobReturn]) -> None:
    # A shape that the config does not state: the rank is held against it by the stack.
    sweeps = Sweeps(train, "method=factorization", "data=lab", "logger=csv", "rank=2,30", "seed=0,1")
    assert trained[0] == 4 and trained[-4:] == [1] * 4
    sweeps.check(EXACT)
    law = "The rank must satisfy 1 <= rank <= min(m, n) = 3. Found 30."
    for ended in sweeps.ended.values():
        assert ended.code == 1 and "2 of 4 jobs failed" in ended.stderr and "Traceback" not in ended.stderr
        for seed in (0, 1):
            failed = f"failed: method=factorization data=lab logger=csv rank=30 seed={seed}"
            assert ended.stderr.count(f"{failed}: {law}\n  sweep/rank=30,seed={seed}\n") == 1
            assert ended.stderr.count(f"sweep/rank=30,seed={seed}: {law}\n") == 1

    check_returned(returned[:4], returned[4:], EXACT)
    for job in returned[:4]:
        assert job.hydra_cfg is not None
        written = result(sweeps.folders["stacked"] / Path(job.hydra_cfg.hydra.runtime.output_dir).name)
        assert job.return_value == written["relative_frobenius"]


def test_a_failure_in_training_is_one_failed_job(
    train: Train, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bits of a job do not depend on its neighbors on a CPU alone.
    arguments = ("-m", *FACTORIZATION, "rank=2", "seed=0,1,2", "trainer=cpu")
    expected = {folder.name: folder for folder in train(*arguments).folders}
    step = MatrixMethod.training_step

    def fails(method: MatrixMethod, block: int) -> None:
        if 1 in method.seeds and method.driver.step_count > 2:
            raise RuntimeError("the third step fails")
        step(method, block)

    monkeypatch.setattr(MatrixMethod, "training_step", fails)
    ended = train(*arguments)
    assert trained == [3, 3, 1, 2, 1, 1]
    for folder in ended.folders:
        if folder.name == "seed=1":
            assert (result(folder)["status"], result(folder)["error"]) == ("failed", "the third step fails")
        else:
            # They are trained at the width of the whole stack, so they are equal to the last bit.
            check_figures(result(folder), result(expected[folder.name]), 0)
            assert history(folder) == history(expected[folder.name])
    assert ended.stderr.count("failed: ") == 1 and "1 of 3 jobs failed" in ended.stderr


def test_a_stack_too_large_for_the_memory_is_split(train: Train, trained: list[int]) -> None:
    arguments = ("-m", *FACTORIZATION, "rank=2,4", "seed=0,1")
    # By estimate two of these need 28 kB, and four need 55 kB.
    folders = [train(*arguments, f"hydra.launcher.memory={gigabytes}").folders for gigabytes in (1, 3e-5)]
    assert trained == [4, 4, 2, 2]
    for whole, split in zip(*folders, strict=True):
        found, expected = result(split), result(whole)
        assert found["status"] == "completed"
        check_figures(found, expected, 0)


@pytest.mark.parametrize(
    ("arguments", "stacks"),
    [
        ("method=factorization,svd rank=1,2", [2, 2]),
        ("method=factorization optimizer=adam optimizer.lr=0.1,0.2 rank=1,2", [2, 2]),
        ("method=factorization optimizer=lbfgs rank=1,2", [1, 1]),
        ("method=bottleneck method.hidden=paper,powers_of_two rank=2,3 seed=0,1", [4, 2, 2]),
        ("method=classifier data=digits rank=1,2", [1, 1]),
        ("method=svd data.seed=0,1 rank=1,2", [4]),
        ("method=svd data.seed=${rank} rank=1,2", [2]),
        ("method=svd data=low_rank data.rank=${rank} rank=1,2", [2]),
        ("method=svd data.rows=12,13 rank=1,2", [2, 2]),
        ("method=svd trainer.precision=64-true,32-true rank=1,2", [2, 2]),
        ("method=svd data.seed=${hydra:job.num} rank=1,2", [1, 1]),
        ("method=svd hydra.job.chdir=true rank=1,2", [1, 1]),
        ("method=svd ckpt=a.ckpt rank=1,2", [1, 1]),
        # A job that is asked for twice is in the stack once, unless each has its own folder.
        ("method=svd rank=1,2,1", [2, 1]),
        ("method=svd rank=1,2,1 hydra.sweep.subdir=${hydra:job.num}", [3]),
        ("method=svd seed=range(5) hydra.launcher.jobs=2", [2, 2, 1]),
    ],
)
def test_what_is_one_stack(arguments: str, stacks: list[int], train: Train, asked: list[int]) -> None:
    ended = train("-m", "data=uniform", "logger=none", *arguments.split())
    assert asked == stacks, ended.stderr


def test_what_is_wrong_with_all_is_said_of_each(train: Train) -> None:
    ended = train("-m", *SMALL, "method=svd", "~trainer", "rank=1,2")
    assert ended.code == 1 and ended.stderr.count(": There must be a choice trainer=NAME. Found none.\n") == 4


def test_a_stack_has_a_job(train: Train, tmp_path: Path) -> None:
    ended = train("-m", *SMALL, "method=svd", "rank=1,2", "hydra.launcher.jobs=0")
    assert ended.line == "hydra.launcher.jobs must be at least 1, or null for any number. Found 0."
    assert list(tmp_path.iterdir()) == []


def test_a_warning_is_one_line(train: Train) -> None:
    arguments = ("method=completion", *SMALL, "logger=none", "data.observed=0.1", "method.max_steps=1")
    ended = train("-m", *arguments, "rank=1", "seed=0,1")
    assert ended.code == 0 and ended.line.startswith("warning: 11 entries are observed, fewer than the 20 degrees")


def test_a_stack_is_divided_by_measurement_and_its_numbers_stay(
    train: Train, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("-m", *FACTORIZATION, "rank=2,4", "seed=0,1,2", "trainer=cpu")
    whole = train(*arguments)
    assert not (whole.folders[0].parent / sweep.STACKS).exists()
    monkeypatch.setattr(sweep, "_MEASURED", 6)
    curve = calibration.Curve((1, 4, 16), (3.0, 1.0, 2.0))
    monkeypatch.setattr(calibration, "measured", lambda stack: curve)
    divided = train(*arguments)
    assert trained == [6, 3, 3]
    for ours, theirs in zip(divided.folders, whole.folders, strict=True):
        check_figures(result(ours), result(theirs), 0)
    (choice,) = json.loads((divided.folders[0].parent / sweep.STACKS).read_text())
    assert (choice["jobs"], choice["stacks"], choice["size"], choice["sizes"]) == (6, 2, 4, [1, 4, 16])


def test_a_measurement_that_fails_leaves_one_stack_and_is_told(
    train: Train, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(stack: Stack) -> calibration.Curve:
        raise ValueError("The law. Found none.")

    monkeypatch.setattr(sweep, "_MEASURED", 2)
    monkeypatch.setattr(calibration, "measured", failing)
    run = train("-m", *FACTORIZATION, "rank=2", "seed=0,1", "trainer=cpu")
    assert trained == [2]
    (choice,) = json.loads((run.folders[0].parent / sweep.STACKS).read_text())
    assert (choice["jobs"], choice["stacks"], choice["error"]) == (2, 1, "The law. Found none.")


def test_what_is_measured_is_a_step_of_the_stack(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[calibration.Curve | None] = []
    measure = calibration.measured

    def kept(stack: Stack) -> calibration.Curve | None:
        found.append(measure(stack))
        return found[-1]

    monkeypatch.setattr(sweep, "_MEASURED", 4)
    monkeypatch.setattr(calibration, "measured", kept)
    train("-m", *FACTORIZATION, "rank=2,4", "seed=0,1", "trainer=cpu")
    train("-m", "method=svd", "optimizer=none", "data=lab", "logger=none", "rank=1,2", "seed=0,1")
    curve = found[0]
    assert curve is not None and curve.sizes == (1, 4) and all(0 < each < 1 for each in curve.seconds)
