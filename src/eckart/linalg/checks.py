"""Laws that values of the config must keep, each stated in one line."""

from collections.abc import Iterable


def require_count(name: str, value: object) -> None:
    """Refuse what is no integer of at least 1.

    Raises:
        ValueError: With the name and the value found.

    Example:
        >>> require_count("method.max_steps", 0)
        Traceback (most recent call last):
        ValueError: method.max_steps must be an integer of at least 1. Found 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1. Found {value!r}.")


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a name that is not known.

    Raises:
        ValueError: With the names that are.

    Example:
        >>> require_one_of("method.solver", "fast", ["exact", "gram"])
        Traceback (most recent call last):
        ValueError: method.solver must be one of: exact, gram. Found 'fast'.
    """
    known = list(known)
    if value not in known:
        raise ValueError(f"{name} must be one of: {', '.join(known)}. Found {value!r}.")
