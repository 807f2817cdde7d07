"""A dask array on two worker processes, one of which is killed: the result is that of one process."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import QUIET, Train
from safetensors.numpy import load_file

import eckart
from eckart.data import dask_clients
from eckart.linalg.dask_blocks import DaskBlocks

distributed = pytest.importorskip("dask.distributed")
da = pytest.importorskip("dask.array")

pytestmark = pytest.mark.processes

ROWS, COLS, STEP = 400, 120, 50


def whole() -> Any:
    generator = np.random.default_rng(0)
    u, v = (np.linalg.qr(generator.standard_normal((size, 40)))[0] for size in (ROWS, COLS))
    return (u * np.r_[10.0, 8.0, 6.0, np.geomspace(1, 0.1, 37)]) @ v.T


def array(delay: float) -> Any:
    """Blocks that take a while, each time that they are asked for."""
    source, chunks = whole(), ((STEP,) * (ROWS // STEP), (COLS,))

    def made(block_info: Any = None) -> Any:
        time.sleep(delay)
        first, stop = block_info[None]["array-location"][0]
        return np.ascontiguousarray(source[first:stop])

    return da.map_blocks(made, chunks=chunks, dtype=np.float64, meta=np.empty((0, 0)))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


class Killer:
    """Ends one of two workers, as a machine that is lost would, while products are computed."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self._client, self._left, self._compute = client, at, DaskBlocks._compute
        self.before = set(client.run(os.getpid).values())
        self.busy: list[bool] = []
        killer = self

        def compute(operator: DaskBlocks, tasks: Any) -> list[Any]:
            killer._left -= 1
            if killer._left:
                return killer._compute(operator, tasks)
            thread = threading.Timer(0.15, killer.kill)
            thread.start()
            found = killer._compute(operator, tasks)
            # The pass went on after the worker was gone.
            killer.busy.append(not thread.is_alive())
            thread.join()
            return found

        monkeypatch.setattr(DaskBlocks, "_compute", compute)

    def kill(self) -> None:
        os.kill(min(self.before), signal.SIGKILL)

    def after(self) -> set[int]:
        self._client.wait_for_workers(2, timeout=60)
        return set(self._client.run(os.getpid).values())


@pytest.mark.parametrize(("method", "options"), [("factorization", {}), ("svd", {"solver": "randomized"})])
def test_a_fit_that_loses_a_worker_is_that_of_one_process(
    method: str, options: dict[str, Any], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = eckart.fit(whole(), 3, method, **options)
    killer = Killer(client, monkeypatch, at=4)
    found = eckart.fit(array(0.05), 3, method, **options)
    assert killer.busy == [True]
    after = killer.after()
    assert len(after) == 2 and len(after & killer.before) == 1
    products = [result.left.numpy() @ result.right.numpy() for result in (expected, found)]
    scale = np.linalg.norm(products[0])
    assert np.linalg.norm(products[1] - products[0]) <= 1e-10 * scale
    for name in ("relative_2norm", "relative_frobenius"):
        assert found.errors[name] == pytest.approx(expected.errors[name], abs=1e-10)


def test_the_command_line_has_worker_processes_of_its_own(train: Train, tmp_path: Path) -> None:
    np.save(tmp_path / "target.npy", whole())
    arguments = ("method=factorization", "data.path=target.npy", "rank=3", *QUIET)
    expected = train("data=file", *arguments)
    found = train("data=dask", "data.workers=2", *arguments)
    assert (found.code, found.stderr) == (0, "")
    factors = [load_file(ended.folder / "factors.safetensors") for ended in (expected, found)]
    products = [each["left"] @ each["right"] for each in factors]
    assert np.linalg.norm(products[1] - products[0]) <= 1e-10 * np.linalg.norm(products[0])
    assert found.result["relative_frobenius"] == pytest.approx(expected.result["relative_frobenius"], abs=1e-10)


def test_a_cluster_is_named_by_its_address(client: Any, train: Train, tmp_path: Path) -> None:
    np.save(tmp_path / "target.npy", whole())
    arguments = ("method=factorization", "data=dask", f"data.path={tmp_path / 'target.npy'}", "rank=3", *QUIET)
    ended = train(*arguments, f"data.scheduler={client.scheduler.address}")
    assert (ended.code, ended.stderr) == (0, "")
    assert abs(ended.result["excess_frobenius"]) < 1e-9
    # The cluster of the tests ends before this process does.
    dask_clients.client_of(client.scheduler.address, None, None).close()
    dask_clients._connected.cache_clear()
    began = time.monotonic()
    ended = train(*arguments, "data.scheduler=tcp://127.0.0.1:9")
    assert (ended.code, time.monotonic() - began < 15) == (1, True)
    law = "data.scheduler must be the address of a scheduler of dask that answers within 5 s"
    assert ended.stderr.startswith(f"{law}. Found tcp://127.0.0.1:9: ") and ended.stderr.count("\n") == 1
