"""Sweeps that W&B drives: ``scripts/wandb_sweep.yaml`` with ``wandb sweep`` and ``wandb agent``."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import ENTITY
from wandb_sweeps import SweepServer

pytestmark = pytest.mark.wandb
ROOT = Path(__file__).parents[2]
FILE = Path("scripts", "wandb_sweep.yaml")


@pytest.fixture
def server() -> Iterator[SweepServer]:
    with SweepServer() as running:
        yield running


def test_an_agent_trains_what_the_file_asks_for(tmp_path: Path, server: SweepServer) -> None:
    for file in (Path("train.py"), FILE):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    # An agent starts what is called python.
    environment |= server.environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def typed(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr

    assert f"wandb agent {ENTITY}/eckart/sweep0" in typed("wandb", "sweep", str(FILE))
    typed("wandb", "agent", "--count", "2", f"{ENTITY}/eckart/sweep0")
    assert list(server.runs) == ["sweep0run0", "sweep0run1"]
    assert [given["sweep"] for given in server.asked("UpsertBucket") if given["sweep"]] == ["sweep0", "sweep0"]
    metric = server.sweeps["sweep0"]["metric"]["name"]
    for run, rank in zip(server.runs.values(), (2, 5), strict=True):
        assert (run.project, run.exit_code) == ("eckart", 0)
        assert run.name == f"factorization-uniform-rank{rank}-seed0"
        # W&B keeps what it chose beside the settings that the run resolved.
        assert (run.config["optimizer.lr"], run.config["rank"]) == (0.001, rank)
        assert (run.config["optimizer"]["lr"], run.config["method"]["max_steps"]) == (0.001, 500)
        error, optimum = (run.summary[f"{kind}_frobenius"] for kind in ("relative", "optimum"))
        assert run.summary[metric] == pytest.approx(error - optimum)
        assert max(row["_step"] for row in run.history) >= 500
    assert server.unknown == []
