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
    """Refuse whatever is not a matrix of affordable size.

    Args:
        shape: As a file's header declares it; nothing needs to be allocated yet.

    Raises:
        ValueError: If ``shape`` is not two positive sizes whose product is at most ``MAX_ENTRIES``.

    Example:
        >>> require_matrix_shape((3, 0))
        Traceback (most recent call last):
        ValueError: the matrix must have shape (m, n) with m >= 1 and n >= 1. Found shape (3, 0).
    """
    found = tuple(shape)
    if len(found) != 2 or min(found) < 1:
        raise ValueError(f"the matrix must have shape (m, n) with m >= 1 and n >= 1. Found shape {found}.")
    if found[0] * found[1] > MAX_ENTRIES:
        raise ValueError(f"the matrix must have m * n <= {MAX_ENTRIES} entries. Found shape {found}.")
