"""Arrays in files as dask arrays: each block is read by the process that computes with it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eckart.printable import printable

# Bytes of a block in float64, in which it is computed with.
_BLOCK = 2**27
FORMATS = (".zarr", ".npy", ".h5", ".hdf5", ".parquet")


def open_array(path: Path, key: str | None = None) -> Any:
    """A matrix in a file as a dask array; no pickle is loaded.

    Args:
        path: A Zarr folder, or a .npy, HDF5 or Parquet file. Workers open it under the same path.
        key: Which array of a Zarr group or an HDF5 file; None for the only one.

    Returns:
        A dask array of shape ``(m, n)``: in the chunks of a Zarr array, else in blocks of rows.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, of another format, or holds no real matrix. One line, naming the file.

    Example:
        >>> path = getfixture("tmp_path") / "a.npy"
        >>> np.save(path, np.ones((2, 3)))
        >>> open_array(path).shape
        (2, 3)
    """
    name, extension = repr(str(path)), path.suffix.lower()
    if extension not in FORMATS:
        law = f"a dask array is opened from {', '.join(FORMATS)}"
        raise ValueError(f"Cannot read {name}: {law}. Found {extension!r}.")
    if not path.exists():
        raise FileNotFoundError(f"Cannot read {name}: the file must exist. Found none.")
    if key is not None and extension in (".npy", ".parquet"):
        raise ValueError(f"Cannot read {name}: key is for a Zarr group or an HDF5 file. Found key {key!r}.")
    try:
        array = _OPEN[extension](path.resolve(), key)
        if array.ndim != 2 or array.dtype.kind not in "biuf" or min(array.shape) < 1:
            raise ValueError(f"it must hold a real matrix. Found shape {array.shape} of {array.dtype}.")
        return array
    except ModuleNotFoundError:
        raise
    # Parsers of damaged files fail in many ways.
    except Exception as error:
        found = str(error) if type(error) is ValueError else f"it must be sound. Found {type(error).__name__}: {error}"
        raise ValueError(f"Cannot read {name}: {printable(found, 400)}") from error


def _zarr(path: Path, key: str | None) -> Any:
    import dask.array
    import zarr

    opened = zarr.open(str(path), mode="r")
    if isinstance(opened, zarr.Group):
        opened = opened[_only(sorted(opened.array_keys()), key)]
    elif key is not None:
        raise ValueError(f"key is for a group; this is one array. Found key {key!r}.")
    return dask.array.from_zarr(opened)


def _npy(path: Path, key: str | None) -> Any:
    header = np.load(path, mmap_mode="r", allow_pickle=False)
    return _by_rows(header, lambda: _npy_rows, str(path), None)


def _npy_rows(path: str, key: str | None, start: int, stop: int) -> NDArray[Any]:
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[start:stop])


def _hdf5(path: Path, key: str | None) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        names = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        name = key if key is not None else _only(sorted(name for name in names if hasattr(file[name], "chunks")), None)
        _require_inside(file, name)
        return _by_rows(file[name], lambda: _hdf5_rows, str(path), name)


def _hdf5_rows(path: str, key: str | None, start: int, stop: int) -> NDArray[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        _require_inside(file, str(key))
        return np.asarray(file[key][start:stop])


def _require_inside(file: Any, key: str) -> None:
    """Refuse an array whose numbers, or whose name, lead to another file."""
    import h5py

    place = file
    for part in [part for part in key.split("/") if part]:
        if not isinstance(place, h5py.Group) or part not in place:
            raise ValueError(f"key must name an array of the file. Found {key!r}.")
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"key must name an array of the file itself. Found a link at {key!r}.")
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        raise ValueError(f"key must name an array of the file. Found {key!r}.")
    if place.external is not None or place.is_virtual:
        raise ValueError("the numbers must lie in the file itself. Found those of other files.")


def _parquet(path: Path, key: str | None) -> Any:
    import dask.array
    import pyarrow.parquet
    from dask import delayed

    file = pyarrow.parquet.ParquetFile(path)
    width, groups = len(file.schema_arrow.names), range(file.num_row_groups)
    kinds = {str(field.type) for field in file.schema_arrow}
    dtype = np.float32 if kinds == {"float"} else np.float64
    parts = [
        dask.array.from_delayed(
            delayed(_row_group, pure=False)(str(path), group, dtype),
            shape=(file.metadata.row_group(group).num_rows, width),
            dtype=dtype,
        )
        for group in groups
    ]
    return dask.array.concatenate(parts)


def _row_group(path: str, group: int, dtype: Any) -> NDArray[Any]:
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(path).read_row_group(group)
    return np.stack([column.to_numpy().astype(dtype, copy=False) for column in table.columns], axis=1)


def _by_rows(stored: Any, reader: Callable[[], Any], path: str, key: str | None) -> Any:
    import dask.array
    from dask import delayed

    if len(stored.shape) != 2:
        raise ValueError(f"it must hold a matrix. Found shape {tuple(stored.shape)}.")
    (rows, cols), dtype = stored.shape, stored.dtype
    step = max(1, _BLOCK // (8 * cols))
    chunk = (getattr(stored, "chunks", None) or (1,))[0]
    # No chunk of the file is read twice.
    step = min(rows, math.ceil(step / chunk) * chunk)
    read = delayed(reader(), pure=False)
    parts = [
        dask.array.from_delayed(
            read(path, key, start, min(start + step, rows)), shape=(min(step, rows - start), cols), dtype=dtype
        )
        for start in range(0, rows, step)
    ]
    return dask.array.concatenate(parts)


def _only(names: Sequence[str], key: str | None) -> str:
    if key is not None:
        if key not in names:
            raise ValueError(f"key must be one of {', '.join(names) or 'none'}. Found {key!r}.")
        return key
    if len(names) != 1:
        raise ValueError(
            f"key must say which of its arrays is meant: {', '.join(names) or 'there is none'}. Found none."
        )
    return names[0]


_OPEN: dict[str, Callable[[Path, str | None], Any]] = {
    ".zarr": _zarr,
    ".npy": _npy,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".parquet": _parquet,
}
