"""Arrays that the contenders of a run share as files: made by the first that asks, read by the others."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eckart.results.atomic import replacing

FOLDER = "ECKART_BENCHMARK_SCRATCH"
"""The variable that names the folder."""


def scratch() -> Path:
    """The folder of this run of the benchmark, which is removed at its end."""
    return Path(os.environ[FOLDER])


def kept(name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """An array in memory, from its file, or made and written to it.

    Args:
        name: Name of the array in this run.
        make: Makes it.
    """
    path = scratch() / f"{name}.npy"
    if not path.is_file():
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, make())
    return np.asarray(np.load(path))
