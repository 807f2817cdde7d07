"""The machine and the versions that a measurement is of."""

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from eckart.benchmarks.measuring import cores

_LIBRARIES = ("eckart", "torch", "numpy", "scipy", "scikit-learn", "pytorch-lightning", "hydra-core", "wandb", "numba")
_PEERS = ("keras", "tensorflow", "tensorflow-cpu", "primme", "dask", "zarr")


def machine() -> str:
    """Processor, cores, memory and system, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def versions() -> dict[str, str]:
    """Version of Python and of each package that a case may use, if it is installed."""
    found = {"python": platform.python_version()}
    for name in (*_LIBRARIES, *_PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def today() -> str:
    """The date, as in 2026-11-26."""
    return datetime.date.today().isoformat()


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
