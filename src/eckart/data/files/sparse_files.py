"""Sparse matrices from files, as lists of their stored entries."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eckart.data.files import limits
from eckart.linalg.operators import Sparse

Stored = tuple[Any, Any, Any, tuple[int, int], int]
"""Row, column and value of each entry, the shape, and the index of the first row in the file."""

# A file that declares more rows than this has a wrong header.
_LONGEST = 2**31 - 1


def is_sparse(path: Path) -> bool:
    r"""Whether a file holds a sparse matrix: an archive that SciPy saved, or a Matrix Market file in coordinate format.

    Example:
        >>> path = getfixture("tmp_path") / "a.mtx"
        >>> _ = path.write_text("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 5\n")
        >>> is_sparse(path)
        True
    """
    name = path.name.lower()
    if name.endswith(".npz"):
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "shape.npy"} <= set(archive.namelist())
    if not name.endswith((".mtx", ".mtx.gz")):
        return False
    with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
        words = file.readline(200).lower().split()
    return words[:3] == [b"%%matrixmarket", b"matrix", b"coordinate"]


def read_sparse(path: Path) -> Sparse:
    r"""The matrix of a sparse file, in the places that are stored; the others are zero.

    Args:
        path: A file of which :func:`is_sparse` holds.

    Raises:
        ValueError: If it is damaged, an entry is not finite, or it declares more than its size can hold.

    Example:
        >>> path = getfixture("tmp_path") / "a.mtx"
        >>> _ = path.write_text("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 5\n")
        >>> read_sparse(path).dense()
        tensor([[[0., 5.],
                 [0., 0.]]], dtype=torch.float64)
    """
    read = read_npz if path.suffix.lower() == ".npz" else read_matrix_market
    row, col, value, shape, _ = read(path)
    values = torch.from_numpy(np.asarray(value, dtype=np.float64))
    broken = (~values.isfinite()).nonzero()
    if len(broken):
        where = int(broken[0])
        place = f"row {int(row[where]) + 1}, column {int(col[where]) + 1} (counted from 1)"
        found = f"{len(broken)} NaN or infinite, the first, {float(values[where])}, in {place}"
        raise ValueError(f"every entry must be finite. Found {found}.")
    places = torch.from_numpy(np.stack([np.asarray(row, dtype=np.int64), np.asarray(col, dtype=np.int64)]))
    return Sparse(torch.sparse_coo_tensor(places, values, shape, check_invariants=False))


def read_matrix_market(path: Path) -> Stored:
    """Stored entries of a Matrix Market file in coordinate format; indices count from 1 there.

    Raises:
        ValueError: If it is dense or complex.
    """
    from scipy.io import mminfo, mmread

    rows, cols, count, form, field, _ = mminfo(path)
    if form != "coordinate" or field == "complex":
        raise ValueError(f"the matrix must be real and in coordinate format. Found {form} and {field}.")
    _require_shape(rows, cols)
    size = path.stat().st_size
    most = max(size * limits.MAX_RATIO, limits.MIN_UNPACKED) if path.suffix.lower() == ".gz" else size
    # A place takes two digits, a blank and the end of a line.
    if 4 * count > most:
        raise ValueError(f"an entry takes 4 bytes at least. Found {count} declared in a file of {size} bytes.")
    found = mmread(path, spmatrix=False)
    return found.row, found.col, found.data, (rows, cols), 1


def read_npz(path: Path) -> Stored:
    """Stored entries of a sparse matrix that SciPy saved; no pickle is loaded.

    Raises:
        ValueError: If the archive declares more than ``limits.MAX_BYTES``, or an index lies outside of the matrix.
    """
    from scipy import sparse

    with zipfile.ZipFile(path) as archive:
        declared = sum(member.file_size for member in archive.infolist())
        names = {member.filename for member in archive.infolist()}
    if declared > limits.MAX_BYTES:
        raise ValueError(f"the archive must unpack to at most {limits.MAX_BYTES} bytes. Found {declared} declared.")
    if not {"format.npy", "shape.npy"} <= names:
        raise ValueError("the archive must hold a sparse matrix that scipy.sparse.save_npz wrote. Found none.")
    matrix = sparse.load_npz(path)
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"the matrix must hold real numbers. Found dtype {matrix.dtype}.")
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    _require_shape(*matrix.shape)
    found = matrix.tocoo()
    for index, size in ((found.row, found.shape[0]), (found.col, found.shape[1])):
        if len(index) and not (index.min() >= 0 and index.max() < size):
            raise ValueError(f"an index must be from 0 to {size - 1}. Found {index.min()} to {index.max()}.")
    return found.row, found.col, found.data, (found.shape[0], found.shape[1]), 0


def _require_shape(rows: int, cols: int) -> None:
    if not (1 <= rows <= _LONGEST and 1 <= cols <= _LONGEST):
        raise ValueError(f"the matrix must have from 1 to {_LONGEST} rows and columns. Found {rows}×{cols}.")
