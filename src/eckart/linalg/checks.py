"""Laws that arguments must satisfy. Each error is one line: the law and the value found.

The messages name the argument alone; the command line adds the path of the key that it came from.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def require_count(name: str, value: object) -> None:
    """Refuse a value that is not an integer of at least 1.

    Args:
        name: Name of the argument.
        value: The value to check.

    Raises:
        ValueError: With the name and the value found.

    Example:
        >>> require_count("max_steps", 0)
        Traceback (most recent call last):
        ValueError: max_steps must be an integer of at least 1. Found 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1. Found {value!r}.")


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is not one of the known ones.

    Args:
        name: Name of the argument.
        value: The value to check.
        known: The values that are allowed.

    Raises:
        ValueError: With the allowed values and the value found.

    Example:
        >>> require_one_of("solver", "fast", ["exact", "gram"])
        Traceback (most recent call last):
        ValueError: solver must be one of: exact, gram. Found 'fast'.
    """
    known = list(known)
    if value not in known:
        raise ValueError(f"{name} must be one of: {', '.join(known)}. Found {value!r}.")


def require_nonzero(norms: Tensor, *, name: str = "The target") -> None:
    """Refuse a matrix whose entries are all zero: an error relative to its norm is undefined.

    Args:
        norms: Norm of each matrix, of any shape.
        name: What the matrix is, for the message.

    Raises:
        ValueError: If any norm is zero.

    Example:
        >>> require_nonzero(torch.zeros(1))
        Traceback (most recent call last):
        ValueError: The target must not be all zero: relative errors are undefined for it. Found norm 0.
    """
    if torch.any(norms == 0):
        raise ValueError(f"{name} must not be all zero: relative errors are undefined for it. Found norm 0.")


def require_different(ratings: Tensor) -> None:
    """Refuse ratings from which nothing can be learned.

    Args:
        ratings: Shape ``(N,)``.

    Raises:
        ValueError: If there are fewer than two, or all are equal.

    Example:
        >>> require_different(torch.tensor([3.0, 3.0]))
        Traceback (most recent call last):
        ValueError: The ratings must differ. Found 2, all of them 3.
    """
    if len(ratings) < 2:
        raise ValueError(f"There must be at least two ratings to learn from. Found {len(ratings)}.")
    if (ratings == ratings[0]).all():
        raise ValueError(f"The ratings must differ. Found {len(ratings)}, all of them {float(ratings[0]):g}.")
