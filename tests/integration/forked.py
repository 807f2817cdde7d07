"""Commands in separate processes, which can be killed; most are forked from a process that has imported everything."""

import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from eckart import cli

TRAIN = Path(__file__).parents[2] / "train.py"
Before = Callable[[pytest.MonkeyPatch], None]

# A server imports everything once; each command is a fork of it.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["eckart.runs.run", "eckart.sweeps.sweep", "pytest"])


class Command:
    """A command line that runs in a separate process, and its output so far."""

    def __init__(self, process: "BaseProcess | subprocess.Popen[bytes]", printed: Path) -> None:
        self._process, self._printed = process, printed

    @property
    def status(self) -> int | None:
        """Its exit status, negative if a signal killed it; None while it runs."""
        return self._process.exitcode if isinstance(self._process, BaseProcess) else self._process.poll()

    @property
    def stdout(self) -> str:
        return (self._printed / "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return (self._printed / "stderr").read_text(encoding="utf-8")

    @property
    def said(self) -> float:
        """When it last printed on standard error, in seconds since the epoch."""
        return (self._printed / "stderr").stat().st_mtime

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.status is None:
            assert self._process.pid is not None
            os.kill(self._process.pid, number)

    def wait_for(self, seen: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Wait until ``seen`` is true or the command has ended; return whether it was true."""
        until = time.monotonic() + timeout
        while not seen():
            if self.status is not None:
                return seen()
            if time.monotonic() > until:
                self.kill()
                pytest.fail(f"Nothing was seen in {timeout} s. {self.stdout}{self.stderr}")
            time.sleep(0.002)
        return True

    def end(self, timeout: float = 60.0) -> int:
        """Wait for its end."""
        self.wait_for(lambda: self.status is not None, timeout)
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """Kill it."""
        self.send(signal.SIGKILL)
        if isinstance(self._process, BaseProcess):
            self._process.join()
        else:
            self._process.wait()


def start(folder: Path, *arguments: str) -> Command:
    """Start a command as a shell does."""
    printed = _printed(folder)
    with (printed / "stdout").open("wb") as stdout, (printed / "stderr").open("wb") as stderr:
        process = subprocess.Popen([sys.executable, TRAIN, *arguments], cwd=folder, stdout=stdout, stderr=stderr)
    return Command(process, printed)


def fork(folder: Path, *arguments: str, before: Before | None = None) -> Command:
    """Start a command in a fork of the process that has imported everything.

    Args:
        folder: Where it runs.
        arguments: As typed after ``python train.py``.
        before: A function of a module that is called first; its patches last as long as the process.
    """
    printed = _printed(folder)
    arguments = ("train.py", *arguments)
    process = _CONTEXT.Process(target=_main, args=(folder, printed, arguments, dict(os.environ), before), daemon=True)
    process.start()
    return Command(process, printed)


def run(folder: Path, *arguments: str, before: Before | None = None) -> Command:
    """Run a command to its end, as with :func:`fork`."""
    command = fork(folder, *arguments, before=before)
    command.end()
    return command


def replace(patch: pytest.MonkeyPatch, where: str, make: Callable[[Any], Any]) -> None:
    """Replace a function or method everywhere, also in modules that have imported it by name.

    Args:
        patch: Undoes it.
        where: Its full name, where it is defined.
        make: Makes the replacement from the function.
    """
    owner, _, name = where.rpartition(".")
    honest = getattr(pkgutil.resolve_name(owner), name)
    replacement = make(honest)
    patch.setattr(where, replacement)
    for module in [module for known, module in sys.modules.items() if known.startswith("eckart.")]:
        for imported in [imported for imported, value in vars(module).items() if value is honest]:
            patch.setattr(module, imported, replacement)


def _printed(folder: Path) -> Path:
    printed = folder / f".printed-{time.monotonic_ns()}"
    printed.mkdir()
    for name in ("stdout", "stderr"):
        (printed / name).touch()
    return printed


def _main(
    folder: Path, printed: Path, arguments: tuple[str, ...], environment: dict[str, str], before: Before | None
) -> None:
    for number, stream in enumerate((sys.stdout, sys.stderr), start=1):
        with (printed / ("stdout", "stderr")[number - 1]).open("wb") as file:
            os.dup2(file.fileno(), number)
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(arguments)
    if before is not None:
        before(pytest.MonkeyPatch())
    cli.main()
