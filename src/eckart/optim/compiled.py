"""Loops over lists of entries, compiled."""

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compiled(function: Callable[..., Any], *, parallel: bool = False, exact: bool = False) -> Callable[..., Any]:
    """A function on numpy arrays, compiled at its first call, because the import of numba takes a second.

    The machine code is kept on disk, for the next process, where a folder for it can be written.

    Args:
        function: The function.
        parallel: Whether its loops over ``prange`` are shared out among threads.
        exact: Whether its numbers are to have the bits of the function that is not compiled: nothing is reordered, and
            no multiplication and addition become one.

    Example:
        >>> def total(values):
        ...     sum = 0.0
        ...     for value in values:
        ...         sum += value
        ...     return sum
        >>> compiled(total) is compiled(total)
        True
    """
    import numba

    # Sums may be reordered, which they have to be to be vectorized; NaN and infinity keep their meaning.
    freedom: Any = False if exact else {"contract", "reassoc", "nsz", "arcp"}
    options: dict[str, Any] = {"fastmath": freedom, "error_model": "numpy", "nogil": True, "parallel": parallel}
    try:
        # Its key on disk does not tell the parallel code of a function from the other.
        return numba.njit(cache=not parallel, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # There is no folder to keep it in.
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
