"""Environment variables that are set for a while."""

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore what they were at the end.

    Args:
        values: Values by the name of the variable.

    Example:
        >>> with environment({"ECKART_EXAMPLE": "1"}):
        ...     os.environ["ECKART_EXAMPLE"]
        '1'
        >>> "ECKART_EXAMPLE" in os.environ
        False
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
