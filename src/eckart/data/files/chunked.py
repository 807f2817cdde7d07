"""Arrays in chunks, Zarr and HDF5, in blocks of whole chunks; nothing outside of the file or folder is read."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from eckart.data.files import containers, limits
from eckart.data.files.raw import BLOCK, dtype_of

# Bytes that the chunks which a block is made of may take.
_LARGEST = 2**30
# What Zarr may decode chunks by. Its registry has others, of which some run code that the file brings.
_CODECS = {
    *("bytes", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32", "shuffle", "delta"),
    *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "bitround", "fixedscaleoffset", "astype", "packbits"),
}


class ChunkedRows:
    """A tall matrix T in an array that is indexed like one of NumPy: of Zarr or HDF5.

    Args:
        array: The array.
        name: What an error calls the file.
        transposed: Whether the array is the transpose of T.
        chunk: Rows of T in a chunk.
    """

    def __init__(self, array: Any, name: str, *, transposed: bool, chunk: int) -> None:
        rows, cols = array.shape[::-1] if transposed else array.shape
        self.shape, self.name, self.dtype = (int(rows), int(cols)), name, dtype_of(str(np.dtype(array.dtype)))
        self._array, self._transposed = array, transposed
        size = self.dtype.itemsize * self.shape[1]
        if chunk * size > _LARGEST:
            law = f"a row of chunks must take at most {_LARGEST} bytes in memory"
            raise ValueError(f"{law}. Found chunks of {chunk} rows, {chunk * size} bytes.")
        self.height = min(self.shape[0], chunk * max(1, BLOCK // (chunk * size)))

    def read(self, first: int, out: Tensor) -> None:
        """Read ``len(out)`` rows from ``first`` on."""
        last = first + len(out)
        found = self._array[:, first:last].T if self._transposed else self._array[first:last]
        out.numpy()[...] = found


def open_zarr(path: Path, key: str | None) -> tuple[ChunkedRows, bool]:
    """An array of a Zarr folder, version 2 or 3, and whether it is the transpose of T.

    Raises:
        ModuleNotFoundError: If zarr is not installed.
        ValueError: If there is a link in the folder, chunks are encoded by anything but the usual codecs, ``key`` names
            none of its arrays or is needed and missing, or the array is not a matrix of real numbers.
    """
    import zarr

    stored = _require_plain(path)
    node = zarr.open(store=str(path), mode="r")
    if isinstance(node, zarr.Array):
        if key is not None:
            raise ValueError(f"the folder is one array without a name, so key must be null. Found key {key!r}.")
        array = node
    else:
        arrays = {name: member for name, member in node.members(max_depth=None) if isinstance(member, zarr.Array)}
        array = arrays[containers.choose({name: tuple(member.shape) for name, member in arrays.items()}, key)]
    return _tall(array, path, array.shards or array.chunks, stored)


def open_hdf5(path: Path, key: str | None) -> tuple[ChunkedRows, bool]:
    """A data set of an HDF5 file, and whether it is the transpose of T.

    Raises:
        ModuleNotFoundError: If h5py is not installed.
        ValueError: If ``key`` names none of its data sets or is needed and missing, or the data set is not a matrix of
            real numbers that stands in this file.
    """
    import h5py

    file = h5py.File(path, "r")
    try:
        sets = dict(_data_sets(file, ""))
        found = sets[containers.choose({name: tuple(each.shape) for name, each in sets.items()}, key)]
        if found.external or found.is_virtual:
            raise ValueError("the data set must stand in the file itself. Found one that stands in other files.")
        return _tall(found, path, found.chunks, path.stat().st_size)
    except Exception:
        file.close()
        raise


def _tall(array: Any, path: Path, chunks: tuple[int, ...] | None, stored: int) -> tuple[ChunkedRows, bool]:
    containers.require_real_dtype(array.dtype)
    limits.require_matrix(array.shape)
    wide = array.shape[0] < array.shape[1]
    limits.require_stored(math.prod(array.shape) * np.dtype(array.dtype).itemsize, stored)
    if chunks is not None:
        limits.require_stored(math.prod(map(int, chunks)) * np.dtype(array.dtype).itemsize, stored)
    chunk = 1 if chunks is None else int(chunks[1 if wide else 0])
    return ChunkedRows(array, repr(str(path)), transposed=wide, chunk=chunk), wide


def _data_sets(group: Any, prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    import h5py

    for name in group:
        # Links to other files, and by name, are not followed.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        found = group[name]
        if isinstance(found, h5py.Dataset):
            yield f"{prefix}{name}", found
        elif isinstance(found, h5py.Group) and depth < 16:
            yield from _data_sets(found, f"{prefix}{name}/", depth + 1)


def _require_plain(folder: Path) -> int:
    """Refuse links and codecs that are not known in a Zarr folder; the bytes that its files take."""
    total = 0
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            place = Path(root, name)
            if place.is_symlink() or not (place.is_file() or place.is_dir()):
                raise ValueError(
                    f"the folder must hold files and folders alone. Found a link or a special file, {name!r}."
                )
        for name in files:
            place = Path(root, name)
            total += place.stat().st_size
            if name in (".zarray", "zarr.json", ".zmetadata"):
                if place.stat().st_size > limits.MIN_UNPACKED:
                    raise ValueError(f"metadata must take at most {limits.MIN_UNPACKED} bytes. Found more in {name!r}.")
                _require_codecs(json.loads(place.read_text(encoding="utf-8")))
    return total


def _require_codecs(node: Any) -> None:
    """Hold every codec that metadata name, at any depth, against the list of those that run no foreign code."""
    if isinstance(node, list):
        for part in node:
            _require_codecs(part)
        return
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in ("compressor", "filters", "codecs", "index_codecs"):
            for codec in value if isinstance(value, list) else [value]:
                named = codec.get("id", codec.get("name")) if isinstance(codec, Mapping) else codec
                if named is not None and str(named).removeprefix("numcodecs.") not in _CODECS:
                    raise ValueError(f"chunks must be encoded by {', '.join(sorted(_CODECS))}. Found {named!r}.")
        if key != "attributes":
            _require_codecs(value)
