"""Fingerprint of a result: the settings that decide it, the files that it reads, and the code that computes it."""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eckart
from eckart.results.settings import decides, flatten

# Bytes beyond which a file is known by its size, the time of its last change and pieces of it.
_LARGE = 2**28
_PIECES, _PIECE = 64, 2**16


def fingerprint(config: Mapping[str, Any]) -> str:
    """Hash of what decides a result: the settings that :func:`~eckart.results.settings.decides` names, and the code.

    Numbers are equal whether written as 1 or 1.0. A path to a file stands for the content of the file: a file that was
    moved gives the same hash, and one that was changed gives another. Of a file of more than 256 MiB, which takes as
    long to read as to compute with, size, time of the last change and 64 pieces of 64 KiB stand for the content. The
    code is the source and the version of this package, and the version of torch.

    Example:
        >>> fingerprint({"rank": 2, "name": "a"}) == fingerprint({"rank": 2, "name": "b"})
        True
        >>> fingerprint({"rank": 2}) == fingerprint({"rank": 3})
        False
    """
    deciding = {name: value for name, value in flatten(config).items() if decides(name)}
    code = [source_digest(), versions()["eckart"], versions()["torch"]]
    text = json.dumps([_canonical(deciding), *code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and the packages that compute a result."""
    installed = {name: importlib.metadata.version(name) for name in ("torch", "eckart")}
    return {"python": platform.python_version(), **installed}


@functools.cache
def source_digest() -> str:
    """Hash of all source files of the package, which change more often than its version."""
    package = Path(str(eckart.__file__)).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, str) and os.path.isfile(value):  # noqa: PTH113 - unlike Path.is_file, takes any text
        status = os.stat(value)  # noqa: PTH116
        # The ending decides how a file is read.
        return [Path(value).suffix, _file_digest(value, status.st_mtime_ns, status.st_size)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@functools.cache
def _file_digest(path: str, modified: int, size: int) -> str:
    with Path(path).open("rb") as file:
        if size <= _LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(f"{size} {modified}".encode())
        for piece in range(_PIECES):
            file.seek(piece * (size - _PIECE) // (_PIECES - 1))
            digest.update(file.read(_PIECE))
        return digest.hexdigest()
