"""Contenders as processes of this machine: a worker that runs a task many times, or one command for each run."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from eckart.benchmarks.case import Command
from eckart.benchmarks.memory import peak_of
from eckart.benchmarks.scratch import FOLDER
from eckart.benchmarks.worker import scored

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
PREPARING = 1500.0
"""Seconds that a contender may take to prepare."""


class Failed(Exception):
    """Why a contender did not run to its end, in one line."""


class Runner(Protocol):
    """A contender that runs once at a time."""

    def launch(self) -> None:
        """Begin to prepare, without waiting for it."""

    def start(self) -> None:
        """Prepare; raises Failed."""

    def run(self, asked: str, limit: float) -> dict[str, Any]:
        """Run once, at most so many seconds: ``seconds`` and perhaps ``memory``, ``error``, ``said``; raises Failed."""

    def close(self) -> None:
        """End its process."""


def variables(threads: int, scratch: Path) -> dict[str, str]:
    """The environment of a contender: the number of threads, pinned before any library is imported.

    Args:
        threads: The number.
        scratch: Folder of arrays that the contenders share.
    """
    # eckart set it for this process, and sets it again for itself where it runs.
    inherited = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    pinned = dict.fromkeys(_THREADS, str(threads))
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
    }
    return inherited | pinned | quiet | {FOLDER: str(scratch)}


class Worker:
    """A worker process of :mod:`eckart.benchmarks.worker`.

    Args:
        arguments: Its arguments.
        environment: Its variables.
        scratch: Where it runs.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], scratch: Path) -> None:
        self._command = [sys.executable, "-m", "eckart.benchmarks.worker", *arguments]
        self._environment, self._scratch = environment, scratch
        self._errors: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""

    def launch(self) -> None:
        """Start the process, which imports and prepares."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(self._environment),
            cwd=self._scratch,
            # Its own children end with it.
            start_new_session=True,
        )

    def start(self) -> None:
        """Wait until the process is ready."""
        if self._process is None:
            self.launch()
        self._answer(PREPARING, "prepare")

    def run(self, asked: str, limit: float) -> dict[str, Any]:
        """Run once."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(f"{asked}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._why()) from None
        return self._answer(limit, "run")

    def close(self) -> None:
        """End the process and all that it started."""
        if self._process is not None:
            _kill(self._process)
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self._errors.close()
        self._process = None

    def _answer(self, limit: float, doing: str) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        pipe, until = self._process.stdout.fileno(), time.monotonic() + limit
        while b"\n" not in self._read:
            if not select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
                raise Failed(f"stopped: it took more than {limit:.0f} s to {doing}")
            if not (part := os.read(pipe, 65536)):
                raise Failed(self._why())
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _why(self) -> str:
        assert self._process is not None
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return _ended(status, lines)


class CommandRunner:
    """A command that is started anew for each run, in an empty folder.

    Args:
        command: The command.
        environment: Its variables.
        scratch: Where its folders are made.
    """

    def __init__(self, command: Command, environment: Mapping[str, str], scratch: Path) -> None:
        self._command, self._environment, self._scratch = command, environment, scratch
        self._judged = command.score is None

    def launch(self) -> None:
        """There is nothing to prepare."""

    def start(self) -> None:
        """There is nothing to wait for."""

    def run(self, asked: str, limit: float) -> dict[str, Any]:
        """Run the whole process; its memory is its peak, as it was some milliseconds before its end at the latest."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder, tempfile.TemporaryFile() as errors:
            arguments = list(self._command.arguments(Path(folder)))
            began = time.perf_counter()
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=dict(self._environment),
                cwd=folder,
                start_new_session=True,
            )
            try:
                status, memory = _wait(process, limit)
                seconds = time.perf_counter() - began
            finally:
                _kill(process)
            if status != self._command.status:
                errors.seek(0)
                raise Failed(_ended(status, errors.read().decode(errors="replace").strip().splitlines()))
            found: dict[str, Any] = {"seconds": seconds, "memory": memory}
            if not self._judged and self._command.score is not None:
                self._judged = True
                found |= scored(self._command.score(Path(folder)))
            return found

    def close(self) -> None:
        """Each run has ended its process."""


def _wait(process: subprocess.Popen[bytes], limit: float) -> tuple[int, int]:
    """Wait for the end: exit status, and the peak memory of the process, in bytes."""
    until, peak = time.monotonic() + limit, 0
    while True:
        # The kernel's own account of a child begins with what this process holds, which can be more.
        peak = max(peak, peak_of(process.pid))
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, peak or (used.ru_maxrss if sys.platform == "darwin" else 1024 * used.ru_maxrss)
        if time.monotonic() > until:
            raise Failed(f"stopped: it took more than {limit:.0f} s to run")
        time.sleep(0.005)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.wait()


def _ended(status: int, lines: list[str]) -> str:
    last = f": {lines[-1]}" if lines else ""
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"ended with {how}{last}"
