"""The commands that runs were started by, as Hydra keeps them."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

_SWEEP = "multirun.yaml"
_RUN = (".hydra", "overrides.yaml")
_LARGEST_FILE = 2**20
# What the command line adds by itself, and folders of another machine.
_ADDED = ("hydra.sweep.dir=", "hydra.run.dir=", "hydra.mode=", "hydra.job.config.override_dirname.exclude_keys=")


def found(folders: Iterable[Path], runs: Sequence[Path]) -> Iterator[str]:
    """The commands of the sweeps above or below folders, and of the runs that are in no sweep.

    Args:
        folders: Where to look.
        runs: Folders of runs below them.

    Yields:
        Each command once.
    """
    above = {*folders, *runs, *(run.parent for run in runs)}
    sweeps = {path for folder in above if (path := folder / _SWEEP).is_file()}
    said = dict.fromkeys(filter(None, map(_of_sweep, sorted(sweeps))))
    inside = {path.parent for path in sweeps}
    said |= dict.fromkeys(of_run(run) for run in runs if run.parent not in inside)
    yield from filter(None, said)


def of_run(folder: Path) -> str:
    """The command that makes the run of a folder; empty if nothing says it.

    Example:
        >>> of_run(Path("nowhere"))
        ''
    """
    words = overrides(folder)
    return shlex.join([*_program(), *words]) if (folder.joinpath(*_RUN)).is_file() else ""


def overrides(folder: Path) -> list[str]:
    """The overrides of a run; none if they cannot be read."""
    path = folder.joinpath(*_RUN)
    return _words(loaded_text(path)) if path.is_file() else []


def loaded(path: Path) -> dict[str, Any]:
    """A YAML file as a dictionary; empty if it is none, is larger than 1 MiB, or cannot be read."""
    read = loaded_text(path)
    return read if isinstance(read, dict) else {}


def loaded_text(path: Path) -> Any:
    """What a YAML file holds; None if it cannot be read."""
    try:
        # To open a pipe would wait for ever.
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _program() -> tuple[str, ...]:
    """The program that the user types: the one that writes this page; no file of a run names it."""
    return ("eckart",) if Path(sys.argv[0]).stem == "eckart" else ("python", "train.py")


def _of_sweep(path: Path) -> str:
    node = loaded(path)
    for key in ("hydra", "overrides"):
        node = node.get(key) or {}
        if not isinstance(node, dict):
            return ""
    asked = [word for word in _words(node.get("hydra")) if not word.startswith(_ADDED)]
    return shlex.join([*_program(), "-m", *asked, *_words(node.get("task"))])


def _words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
