"""The commands of docs/wandb.md, typed as they stand there, against a W&B server on this machine."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import page
from wandb_server import Delivered
from wandb_sweeps import SweepServer

pytestmark = pytest.mark.wandb
ROOT = Path(__file__).parents[2]
PAGE = page("wandb.md")
COMMANDS = [
    line for block in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]
LEET = "wandb leet "


@pytest.fixture
def server() -> Iterator[SweepServer]:
    with SweepServer() as running:
        yield running


def test_the_commands_of_the_page(tmp_path: Path, server: SweepServer) -> None:
    for file in ("train.py", "scripts/wandb_sweep.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    # The commands of this interpreter, and of the one that its environment is made from.
    programs = [Path(sys.executable).parent, Path(sys.executable).resolve().parent]
    programs += [Path(folder).parents[2] / "bin" for folder in sys.path if folder.endswith("site-packages")]
    logged_out = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    logged_out |= {"PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]), "HOME": str(tmp_path / "home")}
    logged_in = logged_out | server.environment
    typed: dict[str, list[Delivered]] = {}
    for command in COMMANDS:
        if command.startswith("pip install"):
            continue
        if command.startswith(LEET):
            # It needs a terminal.
            assert list((tmp_path / command.removeprefix(LEET)).glob("offline-run-*/run-*.wandb"))
            continue
        before, environment = set(server.runs), logged_out if " -m " in command else logged_in
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == 0, (command, ended.stderr)
        typed[command] = [run for identifier, run in server.runs.items() if identifier not in before]
    sweep, sync, online, *_, make, agent, private = typed.values()
    assert sweep == []
    assert {run.group for run in sync} == {"optimizers"} and len(sync) == 6
    assert [run.exit_code for run in sync] == [0] * 6
    assert (online[0].project, online[0].tags) == ("ours", ["draft", "factorization", "uniform"])
    assert {view["type"] for view in server.views.values()} == {"project-view", "runs"}
    assert (
        json.loads((tmp_path / "dashboard" / "workspace.json").read_text(encoding="utf-8"))["displayName"] == "eckart"
    )
    assert make == []
    _were_trained_by_the_agent(agent, server)
    # What W&B collects itself is sent, unless it is told not to.
    assert all(run.config["_wandb"]["e"] and "requirements.txt" in run.files for run in agent)
    assert "e" not in private[0].config["_wandb"]
    assert not {"requirements.txt", "wandb-metadata.json"} & set(private[0].files)
    assert {given["host"] for given in server.asked("UpsertBucket") if given["name"] == private[0].id} == {None}
    assert set(private[0].lines) == {"wandb-history.jsonl", "wandb-summary.json"}
    assert server.unknown == []


def _were_trained_by_the_agent(runs: list[Delivered], server: SweepServer) -> None:
    assert [run.id for run in runs] == ["sweep0run0", "sweep0run1"]
    assert [given["sweep"] for given in server.asked("UpsertBucket") if given["sweep"]] == ["sweep0", "sweep0"]
    metric = server.sweeps["sweep0"]["metric"]["name"]
    for run, rank in zip(runs, (2, 5), strict=True):
        assert (run.project, run.exit_code) == ("eckart", 0)
        assert run.name == f"factorization-uniform-rank{rank}-seed0"
        # W&B keeps what it chose beside the settings that the run resolved.
        assert (run.config["optimizer.lr"], run.config["rank"]) == (0.001, rank)
        assert (run.config["optimizer"]["lr"], run.config["method"]["max_steps"]) == (0.001, 500)
        error, optimum = (run.summary[f"{kind}_frobenius"] for kind in ("relative", "optimum"))
        assert run.summary[metric] == pytest.approx(error - optimum)
        assert max(row["_step"] for row in run.history) >= 500
