"""Read a real matrix from a file of any supported format."""

import contextlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eckart.data.files import chunked, containers, images, limits, parquet, raw, sparse_files, textfiles
from eckart.linalg.blocks import Blocked, Rows
from eckart.linalg.operators import Sparse
from eckart.printable import printable

CONTAINERS: dict[str, Callable[[Path, str | None], npt.NDArray[Any] | Tensor]] = {
    ".npz": containers.read_npz,
    ".safetensors": containers.read_safetensors,
    ".pt": containers.read_pt,
}
IMAGES = tuple(images.FORMATS)
ARRAYS: dict[str, Callable[[Path], npt.NDArray[Any]]] = {
    ".npy": containers.read_npy,
    ".csv": lambda path: textfiles.read_delimited(path, ","),
    ".tsv": lambda path: textfiles.read_delimited(path, "\t"),
    ".mtx": textfiles.read_matrix_market,
    ".mtx.gz": textfiles.read_matrix_market,
}
# Files that need not be loaded: the matrix with its long side as rows, and whether it is transposed by that.
BLOCKS: dict[str, Callable[[Path, str | None], tuple[Rows, bool]]] = {
    ".npy": raw.open_npy,
    ".safetensors": raw.open_safetensors,
    ".zarr": chunked.open_zarr,
    ".h5": chunked.open_hdf5,
    ".hdf5": chunked.open_hdf5,
    ".parquet": parquet.open_parquet,
}
KEYED = (*CONTAINERS, ".zarr", ".h5", ".hdf5")


def open_matrix(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    crop: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
    blocks: bool | None = None,
) -> Tensor | Blocked | Sparse:
    """Read a matrix from a file, or open one that is too large to be loaded, to be read in blocks of rows.

    A sparse matrix, of ``.npz`` as SciPy saves it or of ``.mtx`` in coordinate format, stays sparse.

    Args:
        path: As of :func:`read_matrix`.
        key: As of :func:`read_matrix`.
        crop: As of :func:`read_matrix`.
        size: As of :func:`read_matrix`.
        blocks: Whether it is read in blocks; None: where it has more than ``limits.MAX_ENTRIES`` entries, and a format
            that can be.

    Returns:
        The matrix, float64, NaN where an entry is missing; or an operator, of a sparse matrix, or of one of which a
        block or two are in memory.

    Raises:
        OSError: As of :func:`read_matrix`.
        ModuleNotFoundError: If the format needs a package that is not installed.
        ValueError: As of :func:`read_matrix`, if ``blocks`` is no truth value, or if it is asked of another format.

    Example:
        >>> import numpy
        >>> path = getfixture("tmp_path") / "a.npy"
        >>> numpy.save(path, numpy.ones((4, 3), dtype=numpy.float32))
        >>> open_matrix(path, blocks=True).shape
        (4, 3)
    """
    if blocks not in (None, True, False):
        raise ValueError(f"blocks must be true, false or null. Found {blocks!r}.")
    file = Path(path)
    extension = _extension(file, repr(str(file)))
    if extension not in BLOCKS:
        if blocks:
            raise ValueError(f"blocks=true is for {', '.join(BLOCKS)}. Found {str(file)!r}.")
        with _refusing(file, extension, key, crop, size):
            if sparse_files.is_sparse(file):
                if key is not None:
                    raise ValueError(
                        f"key is for a file of several arrays; this is one sparse matrix. Found key {key!r}."
                    )
                return sparse_files.read_sparse(file)
        return read_matrix(file, key=key, crop=crop, size=size)
    with _refusing(file, extension, key, crop, size):
        tall, transposed = open_rows(file, key)
        if blocks or (blocks is None and tall.shape[0] * tall.shape[1] > limits.MAX_ENTRIES):
            return Blocked(tall, transposed=transposed)
    return read_matrix(file, key=key, crop=crop, size=size)


def open_rows(path: str | os.PathLike[str], key: str | None = None) -> tuple[Rows, bool]:
    """Open a matrix in a file to read rows of its long side.

    Args:
        path: A file of a format that is read in blocks.
        key: As of :func:`read_matrix`.

    Returns:
        The matrix or, where it is wide, its transpose; and whether it is the transpose.

    Raises:
        OSError: As of :func:`read_matrix`.
        ModuleNotFoundError: If the format needs a package that is not installed.
        ValueError: As of :func:`read_matrix`, or if the format is another one.
    """
    file = Path(path)
    extension = _extension(file, repr(str(file)))
    if extension not in BLOCKS:
        raise ValueError(f"Cannot read {str(file)!r}: blocks are read of {', '.join(BLOCKS)}. Found {extension!r}.")
    with _refusing(file, extension, key, None, None):
        return BLOCKS[extension](file, key)


def read_matrix(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    crop: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
) -> Tensor:
    r"""Read a real matrix from a file; the format follows the file name's extension.

    Arrays come from ``.npy``, ``.npz``, ``.safetensors``, ``.pt``, and with the extra ``files`` from ``.zarr``, ``.h5``
    and ``.hdf5``; tables from ``.csv``, ``.tsv``, ``.mtx``, ``.mtx.gz`` and, with that extra, ``.parquet``; luminance
    from ``.png``, ``.jpg``, ``.jpeg``, ``.tif`` and ``.tiff``. No code in a file is ever run, and sizes are checked
    before memory is allocated.

    Args:
        path: The file. The case of its extension does not matter.
        key: Which array of a file that can hold several; may be None where it holds one 2-D array.
        crop: For images, ``[left, top, width, height]`` in pixels.
        size: For images, ``[rows, cols]`` to resample to, after the crop.

    Returns:
        Float64, shape ``(m, n)``, on the CPU; NaN marks an entry that is missing, which is ``nan`` or nothing in a
        table of text, and no value in ``.parquet``. The others are finite; images from 0 (black) to 1 (white).
        Integers beyond ``2 ** 53`` are rounded.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        PermissionError: If the file may not be read.
        ValueError: If the extension is unknown, an option does not fit the format, the file is damaged or too large
            (see ``eckart.data.files.limits``), it does not hold a real matrix, or an entry is infinite. One line,
            naming the file; rows and columns in it count from 1.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "a.csv").write_text("# two rows\n1,2,3\n4,5,6\n")
        >>> read_matrix(folder / "a.csv")
        tensor([[1., 2., 3.],
                [4., 5., 6.]], dtype=torch.float64)
    """
    file = Path(path)
    extension = _extension(file, repr(str(file)))
    with _refusing(file, extension, key, crop, size):
        array: npt.NDArray[Any] | Tensor
        if extension in CONTAINERS:
            array = CONTAINERS[extension](file, key)
        elif extension in IMAGES:
            array = images.read_image(file, crop, size)
        elif extension in ARRAYS:
            array = ARRAYS[extension](file)
        else:
            tall, transposed = BLOCKS[extension](file, key)
            limits.require_matrix_shape(tall.shape)
            array = torch.empty(tall.shape, dtype=tall.dtype)
            for first in range(0, tall.shape[0], tall.height):
                tall.read(first, array[first : first + tall.height])
            array = array.mT if transposed else array
        return _matrix(array)


@contextlib.contextmanager
def _refusing(
    file: Path, extension: str, key: str | None, crop: Sequence[int] | None, size: Sequence[int] | None
) -> Iterator[None]:
    """Check what a file is and what is asked of it, and say in one line, with its name, what is wrong inside."""
    name = repr(str(file))
    require_readable(file, name, folder=extension == ".zarr")
    try:
        if key is not None and extension not in KEYED:
            raise ValueError(f"key is for {', '.join(KEYED)} files. Found key {key!r}.")
        if (crop is not None or size is not None) and extension not in IMAGES:
            raise ValueError(f"crop and size are for {', '.join(IMAGES)} files. Found crop {crop} and size {size}.")
        # Libraries warn about a damaged file before they fail; the user sees one line.
        with warnings.catch_warnings(action="ignore"):
            yield
    except ModuleNotFoundError:
        raise
    # Parsers of damaged files fail in many ways: struct.error, zlib.error, BadZipFile, SafetensorError, SyntaxError...
    except Exception as error:
        found = str(error)
        if type(error) is not ValueError:
            found = f"the file must be a sound {extension} file. Found {type(error).__name__}: {found}"
        raise ValueError(f"Cannot read {name}: {printable(found, 400)}") from error


def require_readable(file: Path, name: str, *, folder: bool = False) -> None:
    """Refuse a path that names no regular file with something in it that may be read.

    Args:
        file: The path.
        name: How the message calls it.
        folder: Whether it must be a folder and no file.

    Raises:
        OSError: If there is no such file, or it may not be read.
        ValueError: If it is no regular file, or empty.
    """
    if "\0" in str(file):
        raise ValueError(f"Cannot read {name}: a path has no null character. Found one.")
    try:
        status = file.stat()
        regular = stat.S_ISREG(status.st_mode)
        if regular:
            file.open("rb").close()
    except FileNotFoundError:
        raise FileNotFoundError(f"Cannot read {name}: the file must exist. Found none.") from None
    except PermissionError:
        raise PermissionError(f"Cannot read {name}: the file must be readable. Found no permission.") from None
    except OSError as error:
        raise OSError(f"Cannot read {name}: the path must be valid. Found: {error.strerror}.") from None
    if folder:
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(f"Cannot read {name}: the path must name a folder. Found a file.")
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"Cannot read {name}: the path must name a file. Found a folder.")
    # Opening a pipe would wait forever, and a device may never end.
    if not regular:
        raise ValueError(f"Cannot read {name}: the path must name a regular file. Found a special one.")
    if status.st_size == 0:
        raise ValueError(f"Cannot read {name}: the file must not be empty. Found 0 bytes.")


def _extension(file: Path, name: str) -> str:
    known = tuple(dict.fromkeys((*ARRAYS, *CONTAINERS, *BLOCKS, *IMAGES)))
    extension = ".mtx.gz" if file.name.lower().endswith(".mtx.gz") else file.suffix.lower()
    if extension not in known:
        law = f"the extension must be one of {', '.join(known)}"
        raise ValueError(f"Cannot read {name}: {law}. Found {extension!r}.")
    return extension


def _matrix(found: npt.NDArray[Any] | Tensor) -> Tensor:
    if isinstance(found, np.ndarray):
        # A copy, in the native byte order: torch takes neither foreign byte orders nor read-only memory.
        found = torch.from_numpy(np.array(found, dtype=np.float64, order="C"))
    limits.require_matrix_shape(found.shape)
    matrix = found.to(torch.float64).contiguous()
    infinite = torch.isinf(matrix)
    if infinite.any():
        row, column = torch.nonzero(infinite)[0].tolist()
        count, value = int(infinite.sum()), matrix[row, column].item()
        where = f"the first, {value}, in row {row + 1}, column {column + 1} (counted from 1)"
        raise ValueError(f"every entry must be finite, or NaN where it is missing. Found {count} infinite, {where}.")
    return matrix
