"""The GPU that cases run on, where there is one."""

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

VARIABLE = "ECKART_BENCHMARK_DEVICE"
"""The variable that names the device: ``cuda`` unless it is set; ``cpu`` tries the cases where there is no GPU."""
_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def device() -> str:
    """Name of the device, as torch takes it."""
    return os.environ.get(VARIABLE, "cuda")


def present() -> bool:
    """Whether this machine has the device."""
    import torch

    return not _is_gpu() or torch.cuda.is_available()


def described() -> str:
    """Name, memory, driver and CUDA version of the device, in one line."""
    import torch

    if not _is_gpu():
        return f"no GPU, but {device()} in its place"
    found = torch.cuda.get_device_properties(device())
    driver = f", driver {number}" if (number := _driver()) else ""
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB{driver}, CUDA {torch.version.cuda}"


def awaited(task: Callable[[], Any], where: str | None = None) -> Callable[[], Any]:
    """The task up to where the device has done all that it was asked.

    Args:
        task: Computes on the device.
        where: Name of the device; None for :func:`device`.
    """
    place = device() if where is None else where
    if place == "cpu":
        return task
    import torch

    def whole() -> Any:
        torch.cuda.reset_peak_memory_stats(place)
        outcome = task()
        torch.cuda.synchronize(place)
        return outcome

    return whole


def memory() -> str:
    """Peak of the memory of the GPU during the last task that was awaited, its data included; empty without a GPU."""
    import torch

    if not _is_gpu():
        return ""
    return f"{torch.cuda.max_memory_allocated(device()) / 1e6:,.0f} MB of the GPU's memory"


def _is_gpu() -> bool:
    return device() != "cpu"


def _driver() -> str:
    """Number of the driver; empty where it is not known."""
    if shutil.which(_DRIVER[0]) is None:
        return ""
    try:
        asked = subprocess.run(_DRIVER, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip().partition("\n")[0]
