"""Sparse matrices from files, as lists of their stored entries."""

import zipfile
from pathlib import Path
from typing import Any

from eckart.data.files import limits

Stored = tuple[Any, Any, Any, tuple[int, int], int]
"""Row, column and value of each entry, the shape, and the index of the first row in the file."""

# A file that declares more rows than this has a wrong header.
_LONGEST = 2**31 - 1


def read_matrix_market(path: Path) -> Stored:
    """Stored entries of a Matrix Market file in coordinate format; indices count from 1 there.

    Raises:
        ValueError: If it is dense or complex.
    """
    from scipy.io import mminfo, mmread

    rows, cols, _, form, field, _ = mminfo(path)
    if form != "coordinate" or field == "complex":
        raise ValueError(f"the matrix must be real and in coordinate format. Found {form} and {field}.")
    _require_shape(rows, cols)
    found = mmread(path)
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
