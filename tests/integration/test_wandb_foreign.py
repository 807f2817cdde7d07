"""Offline runs of a program that knows nothing of this package, read and compared with what it logged."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from wandb_records import read_run

from eckart.tracking.offline import find_offline_runs, read_offline_run

pytestmark = pytest.mark.wandb

KILLED = """
import os, signal, sys, wandb
run = wandb.init(project="p", mode="offline", dir=sys.argv[1], settings=wandb.Settings(silent=True, console="off"))
for step in range(3000):
    run.log({"loss": 1 / (step + 1), "other": step}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def started(folder: Path, **fields: Any) -> wandb.Run:
    settings = wandb.Settings(silent=True, console="off")
    return wandb.init(dir=folder, mode="offline", reinit="create_new", settings=settings, **fields)


def test_all_that_a_program_logs(tmp_path: Path) -> None:
    config = {"lr": 0.1, "net": {"layers": [64, 64], "name": "<script>"}, "x.y": 2, "path": "a\"b'c\n"}
    run = started(
        tmp_path,
        project="their project",
        entity="them",
        name="a name",
        group="g",
        job_type="j",
        notes="two\nlines",
        tags=["a", "b"],
        config=config,
    )
    run.define_metric("epoch")
    run.define_metric("val/*", step_metric="epoch", summary="min")
    run.define_metric("best", summary="max")
    truth: list[dict[str, Any]] = [
        {"loss": 1 / (i + 1), "val/loss": float(4 - i), "epoch": 3 * i, "best": i % 3, "odd": odd, "n": {"a": i}}
        for i, odd in enumerate([math.inf, -math.inf, math.nan, 1e-300, 2.0**70])
    ]
    for i, row in enumerate(truth):
        run.log({**row, "text": "no number", "list": [1, 2], "nothing": None, "flag": True}, step=10 * i)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    run.log({"one": wandb.Image(picture, caption="cap"), "one/loss": 5.0}, step=60)
    run.log({"more": [wandb.Image(picture + k, caption=f"c{k}") for k in range(3)]}, step=61)
    run.log({"bars": wandb.Histogram([1, 2, 3]), "table": wandb.Table(columns=["a"], data=[[1]])}, step=62)
    run.log({"half": 1}, step=63, commit=False)
    run.log({"other half": 2}, step=63)
    run.config.update({"late": {"k": [1]}, "lr": 0.2}, allow_val_change=True)
    run.summary.update({"final": {"score": 7, "text": "ü"}, "gone": 1})
    del run.summary["gone"]
    run.finish(exit_code=3)
    # W&B's own process writes on after that, until it ends.
    wandb.teardown()

    (path,) = find_offline_runs(tmp_path)
    found = read_offline_run(path)
    assert (found.problem, found.exit_code, found.tags) == (None, 3, ("a", "b"))
    names = {"id": run.id, "name": "a name", "project": "their project", "entity": "them", "group": "g"}
    assert names.items() | {("job_type", "j"), ("notes", "two\nlines")} <= found.identity.items()
    assert found.config == {**config, "late": {"k": [1]}, "lr": 0.2}

    steps, epochs = [0, 10, 20, 30, 40], [row["epoch"] for row in truth]
    assert found.axes == {"val/loss": "epoch"}
    for name in ("loss", "epoch", "best"):
        assert found.history[name] == (steps, [row[name] for row in truth])
    assert found.history["val/loss"] == (epochs, [row["val/loss"] for row in truth])
    assert found.history["n/a"] == (steps, [row["n"]["a"] for row in truth])
    np.testing.assert_array_equal(found.history["odd"][1], [row["odd"] for row in truth])
    rest = {name: column for name, column in found.history.items() if name not in truth[0] and name != "n/a"}
    assert rest == {"one/loss": ([60], [5]), "half": ([63], [1]), "other half": ([63], [2])}

    assert [(media.key, media.step, media.caption) for media in found.media] == [
        ("one", 60, "cap"),
        ("more", 61, "c0"),
        ("more", 61, "c1"),
        ("more", 61, "c2"),
    ]
    assert all(media.path.read_bytes().startswith(b"\x89PNG") for media in found.media)
    assert {"loss": 0.2, "val/loss/min": 0, "best/max": 2, "final/score": 7, "final/text": "ü"}.items() <= (
        found.summary.items()
    )
    assert not {"gone", "table/nrows", "one/width"} & found.summary.keys()

    reference = read_run(path)
    for name, (_, values) in found.history.items():
        np.testing.assert_array_equal(values, [row[name] for row in reference.history if name in row])
    json.dumps([found.config, found.summary]).encode()


def test_a_program_that_was_killed(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, capture_output=True)
    assert killed.returncode == -9
    (path,) = find_offline_runs(tmp_path)
    found = read_offline_run(path)
    # W&B's own process still writes while the file is read.
    assert found.problem in (None, "Its end is cut off or damaged.")
    assert (found.exit_code, found.identity["project"]) == (None, "p")
    steps, values = found.history["loss"]
    assert len(steps) > 100 and steps == list(range(len(steps)))
    assert values == [1 / (step + 1) for step in range(len(steps))]
