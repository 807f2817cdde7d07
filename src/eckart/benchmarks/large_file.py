"""A matrix file of any size with known singular values: ``python -m eckart.benchmarks.large_file big.npy``."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 20_000
"""Rows that are written at once."""


def singular_values(rows: int, cols: int) -> NDArray[np.float64]:
    """Of the matrix that :func:`write` makes, but for the rounding to float32: ``1, 1/2, 1/3, …`` times a constant.

    Example:
        >>> singular_values(40_000, 2)
        array([1.41421356, 0.70710678])
    """
    return np.sqrt(rows // BLOCK) / np.arange(1, cols + 1)


def write(path: Path, rows: int, cols: int, *, seed: int = 0) -> None:
    """Write a float32 .npy file of shape ``(rows, cols)``.

    A block of rows is ``D Q S Vᵀ`` with Q and V orthonormal, S diagonal, and random signs D that differ from block to
    block, so that ``AᵀA`` is a multiple of ``V S² Vᵀ``: all singular values are known, whatever the number of blocks.

    Args:
        path: The file.
        rows: A multiple of 20,000.
        cols: At most 20,000.
        seed: Draws Q, V and the signs.

    Raises:
        ValueError: If the shape does not fit.
    """
    if rows % BLOCK or not 1 <= cols <= BLOCK:
        raise ValueError(f"rows must be a multiple of {BLOCK}, and cols at most {BLOCK}. Found {rows} and {cols}.")
    draw = np.random.default_rng(seed)
    left, right = (np.linalg.qr(draw.standard_normal((side, cols)))[0] for side in (BLOCK, cols))
    block = ((left / np.arange(1, cols + 1)) @ right.T).astype(np.float32)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, cols)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type, unused-ignore]
        for _ in range(rows // BLOCK):
            signs = draw.choice(np.array([-1, 1], dtype=np.float32), size=(BLOCK, 1))
            file.write((block * signs).data)
        # Who measures reading must not wait for this writing, nor read from the memory of the system.
        file.flush()
        os.fsync(file.fileno())
        _forget(file.fileno(), 0, 0)


def blocks(path: Path, megabytes: int = 32) -> Iterator[NDArray[Any]]:
    """The rows of a .npy file, some at a time; what was read does not stay in the memory of the system."""
    with path.open("rb", buffering=0) as file:
        np.lib.format.read_magic(file)
        (rows, cols), _, dtype = np.lib.format.read_array_header_1_0(file)
        height = megabytes * 10**6 // (cols * dtype.itemsize)
        buffer = np.empty((height, cols), dtype)
        for first in range(0, rows, height):
            part = buffer[: min(height, rows - first)]
            start, left = file.tell(), memoryview(part.data).cast("B")
            while left:
                left = left[file.readinto(left) or 0 :]
            _forget(file.fileno(), start, part.nbytes)
            yield part


def _forget(descriptor: int, start: int, count: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, count, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eckart.benchmarks.large_file", description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000, help="a multiple of 20,000; %(default)s")
    parser.add_argument("--cols", type=int, default=500, help="%(default)s")
    options = parser.parse_args()
    write(options.path, options.rows, options.cols)


if __name__ == "__main__":
    main()
