"""Arrays in files as dask arrays: each block is read by the process that computes with it."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eckart.data.files.reading import open_rows
from eckart.linalg.blocks import Rows

# Bytes of a block in float64, in which it is computed with.
_BLOCK = 2**27


def open_array(path: str | os.PathLike[str], key: str | None = None) -> Any:
    """A matrix in a file as a dask array, in blocks along its long side; no pickle is loaded.

    Args:
        path: A .npy, .safetensors, .h5 or .parquet file, or a .zarr folder. Workers open it under the same path.
        key: Which array of a file that can hold several.

    Returns:
        A dask array of shape ``(m, n)``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, of another format, or holds no real matrix. One line, naming the file.

    Example:
        >>> path = getfixture("tmp_path") / "a.npy"
        >>> np.save(path, np.ones((2, 3)))
        >>> open_array(path).shape
        (2, 3)
    """
    import dask.array
    from dask.delayed import delayed

    whole = str(Path(path).resolve())
    tall, transposed = open_rows(path, key)
    rows, cols = tall.shape
    # No chunk of the file is read twice.
    step = min(rows, tall.height * max(1, _BLOCK // (8 * cols * tall.height)))
    read, dtype = delayed(_read, pure=False), torch.empty(0, dtype=tall.dtype).numpy().dtype
    parts = [
        dask.array.from_delayed(
            read(whole, key, start, min(start + step, rows)), shape=(min(step, rows - start), cols), dtype=dtype
        )
        for start in range(0, rows, step)
    ]
    array = dask.array.concatenate(parts)
    return array.T if transposed else array


def _read(path: str, key: str | None, start: int, stop: int) -> NDArray[Any]:
    tall = _opened(path, key)
    block = torch.empty(stop - start, tall.shape[1], dtype=tall.dtype)
    for first in range(start, stop, tall.height):
        tall.read(first, block[first - start : min(first + tall.height, stop) - start])
    return np.asarray(block.numpy())


@functools.lru_cache(8)
def _opened(path: str, key: str | None) -> Rows:
    return open_rows(path, key)[0]
