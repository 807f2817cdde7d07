"""Arrays of bytes in the idx format, in which MNIST and Fashion-MNIST are distributed."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eckart.data.files import limits

_BYTES = 8
"""The code of unsigned bytes, the only type of these files."""


def find_idx(folder: Path, name: str) -> Path | None:
    """The file of a name in a folder, as it is or compressed by gzip; None where there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an array of unsigned bytes.

    Two bytes of zero, the code of the type, the number of dimensions, each size as a big-endian integer of 32 bits,
    then the numbers, the last dimension fastest. A name that ends in ``.gz`` is decompressed.

    Args:
        path: An existing file.
        dimensions: How many dimensions the array must have.

    Returns:
        The array, uint8, with the sizes that the file declares.

    Raises:
        ValueError: If it is no such file, declares more than ``limits.MAX_ENTRIES`` numbers, or holds more or fewer
            than it declares.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "labels-idx1-ubyte")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
        ...     read_idx(path, 1)
        tensor([7, 0, 9], dtype=torch.uint8)
    """
    length = 4 + 4 * dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(length)
            if len(header) < length or header[:4] != bytes([0, 0, _BYTES, dimensions]):
                raise ValueError(f"{path} must be an idx file of unsigned bytes in {dimensions} dimensions.")
            sizes = struct.unpack(f">{dimensions}I", header[4:])
            count = math.prod(sizes)
            if count > limits.MAX_ENTRIES:
                raise ValueError(f"{path} must hold at most {limits.MAX_ENTRIES} numbers. Found sizes {sizes}.")
            numbers = np.empty(count, dtype=np.uint8)
            length = file.readinto(numbers.data)
            more = file.read(1)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if more or length != count:
        found = "more" if more else f"{length}"
        raise ValueError(f"{path} must hold {count} numbers, as its sizes {sizes} say. Found {found}.")
    return torch.from_numpy(numbers).view(sizes)
