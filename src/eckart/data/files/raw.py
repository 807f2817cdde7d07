"""Arrays that stand in a file as they would in memory, .npy and .safetensors, read in blocks of rows."""

import json
import math
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eckart.data.files import containers, limits

BLOCK = 2**25
"""Bytes of a block of rows."""

# Bytes of a piece of a column that are read at once, where columns and not rows lie together.
_PIECE = 2**17
# Types that float32 holds exactly; every other real one is read as float64.
_NARROW = {"bool", "int8", "uint8", "int16", "uint16", "float16", "float32", "bfloat16"}
_SAFETENSORS = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"} | {
    f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}


class RawRows:
    """A tall matrix T that stands in a file without gaps, by rows or by columns.

    It is read by calls of the operating system and not mapped, because pages of a mapped file count as memory of the
    process. Where the file is larger than half of the memory, what was read does not stay in the memory of the system
    either.

    Args:
        path: The file.
        offset: Byte of the first entry.
        shape: ``(m, n)`` of T.
        dtype: NumPy's name of the type of its entries, or ``bfloat16``.
        by_rows: Whether the entries of a row of T lie together, and not those of a column.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, int], dtype: str, *, by_rows: bool) -> None:
        self.name, self.shape, self.dtype = repr(str(path)), shape, dtype_of(dtype)
        self._offset, self._by_rows, self._wide = offset, by_rows, dtype == "bfloat16"
        self._kind = np.dtype("uint16" if self._wide else dtype)
        size = self._kind.itemsize
        height = BLOCK // (shape[1] * size) if by_rows else max(BLOCK // (shape[1] * size), _PIECE // size)
        # As many pieces of 512 rows for each of up to eight threads.
        self.height = max(1, min(height // 4096 * 4096 or height, shape[0]))
        self._file = path.open("rb", buffering=0)
        # Also of what lives until the interpreter ends.
        weakref.finalize(self, self._file.close)
        self._passing = path.stat().st_size > memory() // 2

    def read(self, first: int, out: Tensor) -> None:
        """Read ``len(out)`` rows from ``first`` on.

        Raises:
            ValueError: If the file ends before them.
        """
        (rows, cols), size, target = self.shape, self._kind.itemsize, out.numpy()
        native = self._by_rows and not self._wide and self._kind == target.dtype and self._kind.isnative
        shape = (len(out), cols) if self._by_rows else (cols, len(out))
        found: npt.NDArray[Any] = target if native else np.empty(shape, dtype=self._kind)
        if self._by_rows:
            self._fill(found, self._offset + first * cols * size)
        else:
            for column in range(cols):
                self._fill(found[column], self._offset + (column * rows + first) * size)
            found = found.T
        if self._wide:
            out.copy_(torch.from_numpy(found.view(np.int16)).view(torch.bfloat16))
        elif not native:
            target[...] = found

    def _fill(self, array: npt.NDArray[Any], offset: int) -> None:
        left, place = memoryview(array.data).cast("B"), offset
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            if count == 0:
                raise ValueError(f"Cannot read {self.name}: the file must not change while it is read. Found its end.")
            left, place = left[count:], place + count
        if self._passing and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), offset, place - offset, os.POSIX_FADV_DONTNEED)


def dtype_of(name: str) -> torch.dtype:
    """Type that holds every number of a type exactly, if there is one.

    Example:
        >>> dtype_of("uint8"), dtype_of("int32")
        (torch.float32, torch.float64)
    """
    return torch.float32 if name == "bfloat16" or np.dtype(name).name in _NARROW else torch.float64


def memory() -> int:
    """Memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def open_npy(path: Path, key: str | None) -> tuple[RawRows, bool]:
    """The array of a .npy file, and whether it is the transpose of T.

    Raises:
        ValueError: If it is no .npy file, is truncated, or holds anything but a matrix of real numbers.
    """
    with path.open("rb") as file:
        shape, by_columns, dtype = containers.read_header(file)
        offset = file.tell()
    containers.require_real_dtype(dtype)
    return _tall(path, offset, shape, dtype.str, by_rows=not by_columns)


def open_safetensors(path: Path, key: str | None) -> tuple[RawRows, bool]:
    """One tensor of a .safetensors file, and whether it is the transpose of T.

    Raises:
        ValueError: If the file is damaged, ``key`` names none of its tensors or is needed and missing, or the tensor is
            not a matrix of real numbers.
    """
    from safetensors import safe_open

    # The library holds the header against the size of the file; where a tensor begins it does not tell.
    with safe_open(path, framework="np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    name = containers.choose(shapes, key)
    with path.open("rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        entry = json.loads(raw.read(length))[name]
    if entry["dtype"] not in _SAFETENSORS:
        raise ValueError(f"the tensor must hold real numbers. Found dtype {entry['dtype']}.")
    return _tall(path, 8 + length + entry["data_offsets"][0], shapes[name], _SAFETENSORS[entry["dtype"]], by_rows=True)


def _tall(path: Path, offset: int, shape: tuple[int, ...], dtype: str, *, by_rows: bool) -> tuple[RawRows, bool]:
    limits.require_matrix(shape)
    size = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    needed, held = math.prod(shape) * size, path.stat().st_size - offset
    if held < needed:
        raise ValueError(f"shape {shape} and dtype {dtype} need {needed} bytes of data. Found {held}: truncated.")
    wide = shape[0] < shape[1]
    sides = (shape[1], shape[0]) if wide else (shape[0], shape[1])
    return RawRows(path, offset, sides, dtype, by_rows=by_rows != wide), wide
