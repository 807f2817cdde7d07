"""Files that are complete or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, and move the written file to ``path`` once it is complete.

    Partial files that processes have left behind when they were killed while they wrote the same file are removed.

    Raises:
        OSError: If the folder cannot be written to; nothing is left behind then, nor after any other error.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a", "b.txt")) as partial:
        ...         _ = partial.write_text("whole")
        ...     Path(folder, "a", "b.txt").read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path):
            yield partial
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
            partial.replace(path)
        _remove_leftovers(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the name of the file to an error of the disk; errors of writing do not have it.

    Example:
        >>> with naming(Path("full/a.csv")):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: 'full/a.csv'
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def _remove_leftovers(path: Path) -> None:
    prefix = f".{path.name}."
    for other in path.parent.iterdir():
        process = other.name.removeprefix(prefix)
        if other.name.startswith(prefix) and process.isdecimal() and not _runs(int(process)):
            other.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # The process belongs to another user.
        return True
    return True
