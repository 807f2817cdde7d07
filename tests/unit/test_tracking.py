"""Whether W&B is reached, and what the loggers of a job are told."""

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from eckart.runs.job import Job
from eckart.runs.lightning_loggers import logger_settings
from eckart.tracking import reach
from eckart.tracking.live import WandbTracker
from eckart.tracking.reach import obstacle

KEY = "0123456789" * 4
SILENT, REFUSED = "does not answer", "refuses the key"
MLFLOW = {"_target_": "pytorch_lightning.loggers.MLFlowLogger", "tracking_uri": None, "save_dir": None}


class Answering(BaseHTTPRequestHandler):
    """Answers as the server's ``answer`` says: a status and a text."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, text = self.server.answer  # type: ignore[attr-defined]
        self.server.asked.append((self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answering) as answering:
        answering.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield answering
        answering.shutdown()


@pytest.mark.parametrize(
    ("status", "text", "key", "expected"),
    [
        (200, '{"data": {"viewer": {"id": "x"}}}', KEY, None),
        (200, '{"data": {"viewer": null}}', KEY, REFUSED),
        # Who is known by other means than a key is not refused here.
        (200, '{"data": {"viewer": null}}', None, None),
        (401, "", KEY, REFUSED),
        (403, "", KEY, REFUSED),
        (401, "", None, None),
        (404, "", KEY, None),
        (500, "", KEY, None),
        (200, "<html>", KEY, None),
        (200, "[]", KEY, None),
    ],
)
def test_a_server_that_answers(
    status: int, text: str, key: str | None, expected: str | None, server: HTTPServer
) -> None:
    server.answer = (status, text)  # type: ignore[attr-defined]
    assert obstacle(f"http://127.0.0.1:{server.server_port}/", key) == expected
    ((path, sent),) = server.asked  # type: ignore[attr-defined]
    # The user is "api", the password the key.
    assert path == "/graphql" and sent == (key and "Basic YXBpOjAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=")


@pytest.mark.parametrize("listens", [False, True])
def test_nobody_answers(listens: bool) -> None:
    with socket.socket() as black_hole:
        black_hole.bind(("127.0.0.1", 0))
        if listens:
            black_hole.listen()
        began = time.perf_counter()
        assert obstacle(f"http://127.0.0.1:{black_hole.getsockname()[1]}", KEY, seconds=0.2) == SILENT
        assert time.perf_counter() - began < 1


def test_an_answer_that_does_not_end_is_none() -> None:
    with socket.socket() as slow:
        slow.bind(("127.0.0.1", 0))
        slow.listen()
        ended = threading.Event()

        def drip() -> None:
            connection, _ = slow.accept()
            with connection:
                while not ended.wait(0.05):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nA: b\r\n"[:5])

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.perf_counter()
        assert obstacle(f"http://127.0.0.1:{slow.getsockname()[1]}", KEY, seconds=0.3) == SILENT
        assert time.perf_counter() - began < 1
        ended.set()
        thread.join()


def test_one_line_for_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_told", set())
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name in ("a", "a", "b"):
            reach.tell(tmp_path / name, "W&B does not answer")
    later = "the runs are kept offline; `wandb sync {}/wandb/offline-run-*` sends them later"
    assert [str(line.message) for line in said] == [f"W&B does not answer: {later.format(name)}" for name in "ab"]


def job(folder: Path, sweep: Path | None) -> Job:
    config = OmegaConf.create({"rank": 2, "seed": 3, "name": None})
    return Job(config, {"method": "svd", "data": "lab"}, folder, sweep)


def test_a_logger_writes_to_the_folder_of_its_job(tmp_path: Path) -> None:
    node = {"_target_": "a.B", "save_dir": None}
    assert logger_settings(node, job(tmp_path, None)) == {"_target_": "a.B", "save_dir": str(tmp_path)}
    assert logger_settings(node | {"save_dir": "all"}, job(tmp_path, None))["save_dir"] == "all"
    assert logger_settings({"_target_": "a.B"}, job(tmp_path, None)) == {"_target_": "a.B"}


def test_mlflow_has_one_store_for_a_sweep(tmp_path: Path) -> None:
    alone = logger_settings(MLFLOW, job(tmp_path / "rank=2", None))
    swept = logger_settings(MLFLOW | {"tags": {"who": "me", "data": "other"}}, job(tmp_path / "rank=2", tmp_path))
    assert alone["save_dir"] == str(tmp_path / "rank=2" / "mlruns") and swept["save_dir"] == str(tmp_path / "mlruns")
    # Without it, Lightning takes the address of the environment.
    assert "tracking_uri" not in alone
    assert alone["run_name"] == "svd-lab-rank2-seed3"
    own = {"method": "svd", "folder": str(tmp_path / "rank=2")}
    assert alone["tags"] == own | {"data": "lab"}
    assert swept["tags"] == own | {"sweep": tmp_path.name, "who": "me", "data": "other"}
    asked = logger_settings(MLFLOW | {"tracking_uri": "sqlite:///a.db", "run_name": "x"}, job(tmp_path, None))
    assert (asked["tracking_uri"], asked["run_name"]) == ("sqlite:///a.db", "x")


class Slow:
    """A W&B run that is not sent in time."""

    url = "https://wandb.example/run"

    def __init__(self, folder: Path, mode: str) -> None:
        self.settings = SimpleNamespace(sync_dir=str(folder), mode=mode)
        self.summary: dict[str, object] = {}

    def log(self, *_: object, **__: object) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        raise TimeoutError("Timed out finishing run.")


def test_a_run_that_is_not_sent_in_time_can_be_sent_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run: Any = Slow(tmp_path / "wandb/run-1", "online")
    with pytest.warns(UserWarning, match="`wandb sync --include-online wandb/run-1` sends it"):
        where = WandbTracker(run, epochs=False).finish({"status": "completed", "rank": 2, "loss": None}, [])
    assert where == str(tmp_path / "wandb/run-1")
    assert run.summary == {"status": "completed", "rank": 2}
