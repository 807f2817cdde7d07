"""Loggers that a word chooses: what they keep is what ``history.csv`` and ``result.json`` say."""

import contextlib
import csv
import importlib.util
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import SMALL, Train, history, result
from PIL import Image
from wandb_records import read_run

from eckart.methods.matrix import MatrixMethod
from eckart.runs.callbacks import LastState
from eckart.runs.lightning_loggers import LightningTracker
from eckart.tracking.live import WandbTracker

pytestmark = pytest.mark.wandb

ADAM = ("method=factorization", *SMALL, "optimizer=adam", "method.max_steps=25", "method.tolerance=0")
QUIET = "figures=false"
CSV = "+logger.lightning={csv: {_target_: pytorch_lightning.loggers.CSVLogger, save_dir: null}}"
FLOOR = ("optimum_2norm", "optimum_frobenius")
FIGURES = {"approximation", "convergence", "singular_values"}
Series = dict[str, list[tuple[int, float]]]


def expected(folder: Path) -> Series:
    """What a logger should have of a run: its history, the optimum beside the errors, the numbers of its result."""
    found: Series = {}
    for row in history(folder):
        floor = {name: result(folder)[name] for name in FLOOR} if row.get("relative_frobenius") else {}
        for name, value in {**row, **floor}.items():
            if name != "step" and value not in ("", "nan"):
                found.setdefault(name, []).append((int(row["step"]), float(value)))
    return found | {f"result/{name}": [(int(row["step"]), value)] for name, value in numbers(folder).items()}


def numbers(folder: Path) -> dict[str, float]:
    """Numbers of the result; rank and seed are hyperparameters."""
    found = {name: float(value) for name, value in result(folder).items() if type(value) in (int, float)}
    return {name: value for name, value in found.items() if name not in ("rank", "seed")}


def as_logged(logged: Series, folder: Path) -> Series:
    """The series without the time that drawing took, which is known only after the logger has ended."""
    assert logged["result/total_seconds"][0][1] <= numbers(folder)["total_seconds"]
    return logged | {"result/total_seconds": expected(folder)["result/total_seconds"]}


def test_each_job_of_a_stack_has_its_loggers(train: Train) -> None:
    ended = train("-m", *ADAM, QUIET, "rank=1,2", CSV)
    assert ended.code == 0, ended.stderr
    for folder in ended.folders:
        with (folder / "lightning_logs/version_0/metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        logged: Series = {}
        for row in rows:
            for name, value in row.items():
                if name != "step" and value:
                    logged.setdefault(name, []).append((int(row["step"]), float(value)))
        assert as_logged(logged, folder) == expected(folder)
        # A logger that is asked for replaces the default one.
        assert result(folder)["wandb_run"] is None
    assert not list(ended.folders[0].parent.rglob("wandb"))


@pytest.mark.parametrize(("logger", "package"), [("tensorboard", "tensorboard"), ("[wandb,mlflow]", "mlflow")])
def test_a_package_that_is_missing_is_one_line(
    logger: str, package: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else found(name, *rest)
    )
    ended = train("method=svd", "data=lab", "rank=1", f"logger={logger}")
    assert (ended.code, ended.line) == (1, f'{package} comes with the extra {package}: pip install -e ".[{package}]"')


def test_a_tracker_that_fails_loses_no_result(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(WandbTracker, "finish", refuse)
    monkeypatch.setattr(LightningTracker, "log", refuse)
    ended = train("-m", *ADAM, "rank=1,2", CSV, "logger=wandb", QUIET)
    assert ended.code == 0
    assert ended.stderr.splitlines() == [
        "warning: the training goes on without the logger CSVLogger: Connection lost",
        "warning: the result is whole, but not its run in W&B: Connection lost",
    ]
    for folder in ended.folders:
        assert result(folder)["status"] == "completed" and result(folder)["wandb_run"] is None


def test_tensorboard(train: Train) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    alone = train(*ADAM, "rank=2", "logger=tensorboard")
    swept = train("-m", *ADAM, "rank=1,2", "logger=tensorboard", QUIET)
    assert (alone.code, swept.code) == (0, 0), alone.stderr + swept.stderr
    for folder in (*alone.folders, *swept.folders):
        assert not (folder / "wandb").exists() and not (folder.parent / "wandb").exists()
        scalars, images, tags = events(folder / "tensorboard" / "version_0")
        wanted = {
            name: [(step, float(np.float32(value))) for step, value in series]
            for name, series in expected(folder).items()
        }
        seconds = "result/total_seconds"
        assert scalars | {seconds: wanted[seconds]} == wanted
        assert set(images) == ({f"figures/{name}" for name in FIGURES} if folder in alone.folders else set())
        for name, picture in images.items():
            with Image.open(folder / f"{name}.png") as image:
                assert picture == image.size
        # Its table of hyperparameters shows the config beside the result.
        hyperparameters, measured = tags
        assert (
            hyperparameters["choices/method"] == "factorization" and hyperparameters["rank"] == result(folder)["rank"]
        )
        assert measured == {f"result/{name}" for name in numbers(folder)}


def events(folder: Path) -> tuple[Series, dict[str, tuple[int, int]], tuple[dict[str, Any], set[str]]]:
    """Scalars, sizes of images, and the hyperparameters with the names of their metrics."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    scalars = {name: [(event.step, event.value) for event in read.Scalars(name)] for name in read.Tags()["scalars"]}
    images = {}
    for name in read.Tags()["images"]:
        (event,) = read.Images(name)
        # Width and height stand first in a PNG.
        images[name] = struct.unpack(">II", event.encoded_image_string[16:24])
    content = read.PluginTagToContent("hparams")
    started = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    asked = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in started.hparams.items()}
    return scalars, images, (values, {info.name.tag for info in asked.metric_infos})


def test_a_run_that_is_resumed_is_whole_in_each_tracker(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    scheduled, calls = MatrixMethod.scheduled, 0

    def break_off(self: MatrixMethod, step: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise ValueError("It broke.")
        return scheduled(self, step)

    arguments = (*ADAM, "rank=2", "logger=[wandb,tensorboard]", QUIET, "method.record_every=3")
    with monkeypatch.context() as patch:
        patch.setattr(MatrixMethod, "scheduled", break_off)
        # The state is kept at once, and not every 30 s.
        patch.setattr(LastState, "_due", lambda _: True)
        begun = train(*arguments, "hydra.run.dir=run")
    assert (begun.code, begun.line) == (1, "It broke.")
    ended = train(*arguments, "resume=run")
    assert ended.code == 0, ended.stderr
    rows = history(begun.folder)
    assert [int(row["step"]) for row in rows] == [0, 3, 6, 9, 12, 15, 18, 21, 24, 25]
    scalars, _, _ = events(begun.folder / "tensorboard" / "version_1")
    assert [step for step, _ in scalars["train/loss"]] == [int(row["step"]) for row in rows]
    # Both can have begun in one second, which is the order that their folders' names give.
    runs = {run.exit_code: run for run in map(read_run, begun.folder.glob("wandb/offline-run-*/run-*.wandb"))}
    assert runs.keys() == {0, 1}
    assert [row["train/loss"] for row in runs[0].history] == [float(row["train/loss"]) for row in rows]


def test_mlflow(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    ended = train("-m", *ADAM, "rank=1,2", "logger=mlflow", "figures=true")
    assert (ended.code, ended.stderr) == (0, "")
    store = ended.folders[0].parent / "mlruns"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    client = MlflowClient(f"file:{store}")
    experiment = client.get_experiment_by_name("eckart")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {f"factorization-uniform-rank{rank}-seed0" for rank in (1, 2)}
    for folder in ended.folders:
        run = runs[f"factorization-uniform-rank{result(folder)['rank']}-seed0"]
        logged = {
            name: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        assert as_logged(logged, folder) == expected(folder)
        assert run.info.status == "FINISHED"
        assert run.data.params["choices/method"] == "factorization"
        assert run.data.params["rank"] == str(result(folder)["rank"])
        assert run.data.tags["sweep"] == folder.parent.name and run.data.tags["folder"] == str(folder)
        artifacts = {Path(item.path).stem for item in client.list_artifacts(run.info.run_id, "figures")}
        assert artifacts == FIGURES


def test_a_run_that_fails_is_failed_in_mlflow(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    def refuse(*_: object) -> None:
        raise ValueError("It broke.")

    monkeypatch.setattr(MatrixMethod, "scheduled", refuse)
    ended = train(*ADAM, "rank=2", "logger=mlflow")
    assert (ended.code, ended.line) == (1, "It broke.")
    swept = train("-m", *ADAM, "rank=1,2", "logger=mlflow")
    assert swept.code == 1
    for store in (ended.folder / "mlruns", swept.folders[0].parent / "mlruns"):
        client = MlflowClient(f"file:{store}")
        (experiment,) = (item for item in client.search_experiments() if item.name == "eckart")
        # A stack that is tried again job by job leaves one run a job.
        runs = client.search_runs([experiment.experiment_id])
        assert [run.info.status for run in runs] == ["FAILED"] * (1 if store.parent == ended.folder else 2)


@pytest.fixture(params=["refused", "black hole", "no key"])
def unreachable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """W&B's address, and what is said of it."""
    import wandb

    with contextlib.ExitStack() as stack:
        if request.param == "no key":
            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Refusing))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            port = server.server_port
        else:
            black_hole = stack.enter_context(socket.socket())
            black_hole.bind(("127.0.0.1", 0))
            port = black_hole.getsockname()[1]
            if request.param == "black hole":
                black_hole.listen(100)
        url = f"http://127.0.0.1:{port}"
        for name, value in {"BASE_URL": url, "API_KEY": "0" * 40, "MODE": "online"}.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        # W&B reads the environment once.
        wandb.teardown()
        yield url, "refuses the key" if request.param == "no key" else "does not answer"
        wandb.teardown()


class Refusing(BaseHTTPRequestHandler):
    """Knows nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_without_a_network_a_sweep_is_kept_offline_with_one_line(unreachable: tuple[str, str], train: Train) -> None:
    url, said = unreachable
    began = time.perf_counter()
    # Two stacks of two jobs.
    ended = train("-m", *ADAM, "rank=1,2", "seed=0,1", "hydra.launcher.jobs=2", "hydra.sweep.dir=sweep", QUIET)
    # A stack waits at most 3 s for an answer; W&B's own client would wait 90 s for each job.
    assert time.perf_counter() - began < 30
    assert ended.code == 0
    later = "the runs are kept offline; `wandb sync sweep/wandb/offline-run-*` sends them later"
    assert ended.line == f"warning: W&B at {url} {said}: {later}"
    runs = [read_run(path) for path in Path("sweep/wandb").glob("offline-run-*/run-*.wandb")]
    assert [run.exit_code for run in runs] == [0] * 4
    assert not list(Path("sweep/wandb").glob("run-*"))


def test_a_sweep_outlives_the_process_of_wandb(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = WandbTracker.log
    killed: list[int] = []

    def kill(self: WandbTracker, row: Any, step: int) -> None:
        if not killed:
            wandb_core = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True, check=True
            )
            killed.extend(map(int, wandb_core.stdout.split()))
            for number in killed:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
        honest(self, row, step)

    monkeypatch.setattr(WandbTracker, "log", kill)
    ended = train("-m", *ADAM, "rank=1,2", "seed=0,1", "hydra.launcher.jobs=2", "hydra.sweep.dir=sweep", QUIET)
    assert ended.code == 0
    assert ended.line == "warning: the training goes on without W&B: Connection lost"
    assert [result(folder)["status"] for folder in ended.folders] == ["completed"] * 4
    # The second stack has runs again.
    kept = [result(folder)["wandb_run"] for folder in ended.folders]
    assert sorted(map(bool, kept)) == [False, False, True, True]
