"""Where dask computes: threads or worker processes of this machine, or a cluster."""

import asyncio
import atexit
import functools
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eckart.allowed import open_folder, opened_folder
from eckart.printable import printable

# Seconds in which a scheduler has to answer.
_PATIENCE = 5
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")


def client_of(scheduler: str | None, workers: int | None, memory: float | None) -> Any:
    """A client of a cluster, connected once in a process.

    Args:
        scheduler: Address of a cluster's scheduler, as in ``tcp://host:8786``; what it computes is code, so it must be
            trusted. None for processes of this machine.
        workers: Processes of this machine; None for one on each core, 0 for threads of this process.
        memory: Memory of each process in GiB; None for an equal share of the machine's.

    Returns:
        The client; None for threads of this process.

    Raises:
        ValueError: If the address is none, or no scheduler answers there, or settings of processes are given beside it.
        ModuleNotFoundError: If dask is not installed.
    """
    if scheduler is None:
        if workers is not None and workers < 0:
            raise ValueError(f"workers must not be negative. Found {workers}.")
        if memory is not None and not memory > 0:
            raise ValueError(f"memory must be above 0, in GiB. Found {memory}.")
        return None if workers == 0 else _local(workers, memory)
    if not _ADDRESS.fullmatch(scheduler):
        law = "scheduler must be the address of a scheduler, as in tcp://host:8786"
        raise ValueError(f"{law}. Found {printable(scheduler, 200)!r}.")
    if workers is not None or memory is not None:
        found = f"workers={workers} and memory={memory}"
        raise ValueError(f"scheduler names a cluster, which has its own workers and their memory. Found {found}.")
    return _connected(scheduler)


@functools.cache
def _local(workers: int | None, memory: float | None) -> Any:
    from dask.distributed import Client, LocalCluster

    _silence()
    limit = "auto" if memory is None else int(memory * 2**30)
    count = {} if workers is None else {"n_workers": workers}
    # A product keeps its core busy, and two at a time need the memory of two blocks.
    each = {"threads_per_worker": 1, "processes": True, "memory_limit": limit}
    # The server of its pages cannot be left out: it gets any free port, of this machine alone.
    pages = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    cluster = LocalCluster(**count, **each, **pages, silence_logs=logging.CRITICAL)
    client = Client(cluster)
    if (folder := opened_folder()) is not None:
        client.run(open_folder, folder)
    atexit.register(_close, client, cluster)
    return client


@functools.cache
def _connected(address: str) -> Any:
    from dask.distributed import Client

    _silence()
    try:
        # In a thread of its own, for a notebook has a loop already. A client that failed would go on in the background.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(_greet(address))).result()
        client = Client(address, timeout=_PATIENCE)
    # What answers there can be any program.
    except Exception as error:
        law = f"scheduler must be the address of a scheduler of dask that answers within {_PATIENCE} s"
        raise ValueError(f"{law}. Found {address}: {type(error).__name__}.") from error
    atexit.register(_close, client)
    return client


async def _greet(address: str) -> None:
    from distributed.comm.core import connect

    comm = await asyncio.wait_for(connect(address, timeout=_PATIENCE), _PATIENCE)
    comm.abort()


def _silence() -> None:
    # What concerns the user comes as an error of the computation; a worker that is lost is replaced.
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _close(*parts: Any) -> None:
    for part in parts:
        part.close(timeout=_PATIENCE)
