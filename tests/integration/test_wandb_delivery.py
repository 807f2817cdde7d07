"""What reaches a W&B server, from online runs and from offline ones delivered later, compared with the run's folder."""

import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import wandb
from commandline import SMALL, Ended, Train, history, result
from wandb_records import read_run
from wandb_server import KEY, Delivered, WandbServer

from eckart.tracking.offline import OfflineRun, find_offline_runs, read_offline_run

pytestmark = pytest.mark.wandb

TRAINED = ("method=factorization", *SMALL, "rank=2", "optimizer=adam", "method.max_steps=30", "method.record_every=5")
# This seed diverges at this learning rate, one seed of three.
DIVERGING = ("method=factorization", *SMALL, "rank=2", "optimizer=sgd", "optimizer.lr=1.5", "method.max_steps=60")


def rows_of(folder: Path) -> dict[int, dict[str, float]]:
    """Rows of ``history.csv`` by step."""
    return {
        int(row["step"]): {name: float(text) for name, text in row.items() if text and name != "step"}
        for row in history(folder)
    }


def full(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values without empty mappings, which W&B's client does not send."""
    nested = {name: full(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in nested.items() if value != {}}


def check_history(rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Compare logged rows with ``history.csv``: the same numbers at the same steps."""
    expected = rows_of(folder)
    assert len(expected) > 1 and any(len(row) > 4 for row in expected.values())
    logged: dict[int, dict[str, Any]] = {}
    for row in rows:
        logged.setdefault(row["_step"], {}).update(row)
    for step, values in expected.items():
        for name, value in values.items():
            assert logged[step][name] == value or math.isnan(value), (step, name)
    # The last row alone can have more: what was measured at the end.
    last = max(logged)
    for name in {name for values in expected.values() for name in values}:
        steps = [step for step in sorted(logged) if name in logged[step] and step < last]
        assert steps == [step for step in expected if name in expected[step] and step < last]


def pictures(folder: Path) -> dict[str, bytes]:
    """What W&B is given to show: the figures of a run, or its preview where it drew none."""
    files = list(folder.glob("figures/*.png")) or list(folder.glob("preview.png"))
    return {f"figures/{path.stem}": path.read_bytes() for path in files}


def check_delivered(run: Delivered, folder: Path, code: int) -> None:
    """Compare what a server has of a run with the run's folder."""
    expected = result(folder)
    assert (run.complete, run.exit_code) == (True, code)
    assert run.project == "eckart" and run.name.startswith(f"{expected['method']}-{expected['data']}-rank")
    assert {name: run.config[name] for name in full(expected["config"])} == full(expected["config"])
    check_history(run.history, folder)
    for name, value in expected.items():
        # The time of all of a run is known when W&B has ended.
        if value is not None and name in run.summary and name not in ("config", "total_seconds"):
            assert run.summary[name] == value, name
    assert {"status", "loss", "relative_2norm", "excess_frobenius", "steps"} <= run.summary.keys()
    drawn = pictures(folder)
    shown = {name: value for row in run.history for name, value in row.items() if name.startswith("figures/")}
    assert drawn and shown.keys() == drawn.keys()
    for name, content in drawn.items():
        assert run.files[shown[name]["path"]] == content


def check_offline(run: OfflineRun, folder: Path, code: int) -> None:
    """Compare what the file of an offline run says with the run's folder, and with what an independent reader says."""
    reference = read_run(run.path)
    check_history(reference.history, folder)
    assert run.problem is None
    assert (run.exit_code, reference.exit_code) == (code, code)
    assert run.config == {name: value for name, value in reference.config.items() if name != "_wandb"}
    assert {name: run.config[name] for name in result(folder)["config"]} == result(folder)["config"]
    for name, (_, values) in run.history.items():
        assert values == [row[name] for row in reference.history if name in row], name
    for step, row in rows_of(folder).items():
        for name, value in row.items():
            steps, values = run.history[name]
            assert values[list(steps).index(step)] == value
    assert {media.key: media.path.read_bytes() for media in run.media} == pictures(folder)
    for name, value in run.summary.items():
        if not name.startswith("_") and name in reference.summary:
            assert reference.summary[name] == value


def sync(*folders: Path, **environment: str) -> None:
    """Deliver offline runs as a user does."""
    command = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
    subprocess.run(command, env=os.environ | environment, check=True, timeout=60, capture_output=True)


def by_job(ended: Ended) -> dict[str, Path]:
    """Folders of a sweep's jobs by the names of their W&B runs."""
    found = {}
    for folder in ended.folders:
        job = result(folder)
        found[f"{job['method']}-{job['data']}-rank{job['rank']}-seed{job['seed']}"] = folder
    return found


def test_an_online_run_delivers(train: Train, wandb_server: WandbServer) -> None:
    ended = train(*TRAINED)
    assert ended.code == 0, ended.stderr
    check_delivered(wandb_server.run, ended.folder, 0)
    assert ended.result["wandb_run"] == f"{wandb_server.url}/somebody/eckart/runs/{wandb_server.run.id}"
    assert wandb_server.unknown == []


def test_a_failed_online_run_says_so(train: Train, wandb_server: WandbServer) -> None:
    ended = train(*DIVERGING, "seed=1")
    assert (ended.code, ended.result["status"]) == (1, "diverged")
    check_delivered(wandb_server.run, ended.folder, 1)


def test_an_offline_sweep_is_delivered_later(
    train: Train, wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    ended = train("-m", *DIVERGING, "seed=0,1,2", "figures=true")
    # W&B's own process writes on after a run has finished, until it ends.
    wandb.teardown()
    assert ended.code == 1
    sweep = ended.folders[0].parent
    jobs = by_job(ended)
    codes = {name: int(result(folder)["status"] != "completed") for name, folder in jobs.items()}
    assert sorted(codes.values()) == [0, 0, 1]
    found = [read_offline_run(path) for path in find_offline_runs(sweep)]
    assert {run.identity["name"] for run in found} == jobs.keys()
    for run in found:
        check_offline(run, jobs[run.identity["name"]], codes[run.identity["name"]])
        assert run.identity["group"] == sweep.name
    assert wandb_server.operations == []

    sync(*(run.path.parent for run in found), WANDB_MODE="online")
    assert len(wandb_server.runs) == 3 and wandb_server.unknown == []
    for delivered in wandb_server.runs.values():
        check_delivered(delivered, jobs[delivered.name], codes[delivered.name])
        assert delivered.group == sweep.name
        (own,) = (run for run in found if run.identity["id"] == delivered.id)
        config = {name: value for name, value in delivered.config.items() if name != "_wandb"}
        assert config == full(own.config)


def test_a_key_without_a_network(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_MODE", "online")
        wandb.teardown()
        ended = train("-m", *TRAINED, "seed=0,1")
        wandb.teardown()
    assert ended.code == 0
    warnings = [line for line in ended.stderr.splitlines() if "offline" in line]
    assert len(warnings) == 1 and "does not answer" in warnings[0], ended.stderr
    assert "Traceback" not in ended.stderr and "prompt" not in ended.stderr
    jobs = by_job(ended)
    found = [read_offline_run(path) for path in find_offline_runs(ended.folders[0].parent)]
    assert len(found) == 2
    for run in found:
        check_offline(run, jobs[run.identity["name"]], 0)
