"""Where dask computes: threads or worker processes of this machine, or a cluster."""

import atexit
import functools
import logging
import re
from typing import Any

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
        ValueError: If the address is none, or settings of processes are given beside it.
        ConnectionError: If no scheduler answers there.
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

    limit = "auto" if memory is None else int(memory * 2**30)
    count: dict[str, Any] = {} if workers is None else {"n_workers": workers}
    # A product keeps its core busy, and two at a time need the memory of two blocks.
    cluster = LocalCluster(
        **count,
        threads_per_worker=1,
        processes=True,
        memory_limit=limit,
        dashboard_address=None,
        silence_logs=logging.ERROR,
    )
    client = Client(cluster)
    atexit.register(_close, client, cluster)
    return client


@functools.cache
def _connected(address: str) -> Any:
    from dask.distributed import Client

    silent = logging.getLogger("distributed")
    level = silent.level
    silent.setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        law = f"data.scheduler={address} must be the address of a scheduler of dask that answers in {_PATIENCE} s"
        raise ConnectionError(f"{law}. Found {type(error).__name__}.") from error
    finally:
        silent.setLevel(level)
    atexit.register(_close, client)
    return client


def _close(*parts: Any) -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    for part in parts:
        part.close(timeout=_PATIENCE)
