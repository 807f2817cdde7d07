"""Sizes beyond which a file is refused before it is decoded, so that a small file cannot take all memory or hours."""

from collections.abc import Sequence

MAX_ENTRIES = 2**28
"""Entries of a matrix: 2 GiB in float64."""

MAX_BYTES = 8 * MAX_ENTRIES
"""Declared contents of an archive, and text of a table, in bytes."""

MAX_RATIO = 200
"""Bytes of text for each byte of a gzip file. Text of random decimals has a ratio of 2 to 3."""

MIN_UNPACKED = 2**24
"""Bytes of text that any gzip file may hold, whatever its ratio: a matrix of zeros compresses a thousandfold."""

MAX_PIXELS = 2**26
"""Pixels of an image before cropping."""


def require_matrix_shape(shape: Sequence[int]) -> None:
    """Refuse whatever is not a matrix that can be loaded.

    Args:
        shape: As a file's header declares it; nothing needs to be allocated yet.

    Raises:
        ValueError: If ``shape`` is not two positive sizes whose product is at most ``MAX_ENTRIES``.

    Example:
        >>> require_matrix_shape((3, 0))
        Traceback (most recent call last):
        ValueError: the matrix must have shape (m, n) with m >= 1 and n >= 1. Found shape (3, 0).
    """
    require_matrix(shape)
    if shape[0] * shape[1] > MAX_ENTRIES:
        raise ValueError(f"the matrix must have m * n <= {MAX_ENTRIES} entries. Found shape {tuple(shape)}.")


def require_matrix(shape: Sequence[int]) -> None:
    """Refuse whatever is not a matrix, of any size.

    Raises:
        ValueError: If ``shape`` is not two positive sizes.

    Example:
        >>> require_matrix((10**7, 500))
    """
    found = tuple(shape)
    if len(found) != 2 or min(found) < 1:
        raise ValueError(f"the matrix must have shape (m, n) with m >= 1 and n >= 1. Found shape {found}.")


def require_stored(declared: int, stored: int) -> None:
    """Refuse a file or a folder that declares far more than it stores.

    Args:
        declared: Bytes of the array as it would be in memory.
        stored: Bytes on the disk.

    Raises:
        ValueError: If it unpacks to more than ``MIN_UNPACKED`` bytes and more than ``MAX_RATIO`` times its size.

    Example:
        >>> require_stored(10**11, 10**3)
        Traceback (most recent call last):
        ValueError: the array must unpack to at most 200 times its size on disk, 1000 bytes. Found 100000000000 bytes.
    """
    if declared > max(MIN_UNPACKED, MAX_RATIO * stored):
        law = f"the array must unpack to at most {MAX_RATIO} times its size on disk, {stored} bytes"
        raise ValueError(f"{law}. Found {declared} bytes.")
