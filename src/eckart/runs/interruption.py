"""Signals and the end of the process: no other module handles signals or ends the process at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

# Seconds that the main thread has to start ending the process.
_PATIENCE = 1.5
# Seconds that a training step has to end.
_STEP = 1.0
_cleanups: list[Callable[[], None]] = []
_exit_lock = threading.RLock()


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        signal: Number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.signal = number

    @classmethod
    def by(cls, interrupt: BaseException | None) -> "Interrupted":
        """The same interrupt with its signal's number; SIGINT where the exception does not know the number.

        Example:
            >>> Interrupted.by(Interrupted(signal.SIGTERM)).signal == signal.SIGTERM
            True
            >>> Interrupted.by(KeyboardInterrupt()).signal == signal.SIGINT
            True
        """
        return cls(interrupt.signal if isinstance(interrupt, cls) else signal.SIGINT)

    @property
    def status(self) -> int:
        """Exit status of the process, as shells report it.

        Example:
            >>> Interrupted(signal.SIGTERM).status
            143
        """
        return 128 + self.signal


@contextlib.contextmanager
def interruptible(message: Callable[[], str]) -> Iterator[None]:
    """Raise :class:`Interrupted` in the main thread when the process receives SIGINT or SIGTERM.

    A library call can take minutes, and Python raises nothing before the call returns. If the main thread has not
    called :func:`claim_exit` after 1.5 seconds, another thread runs what :func:`before_exit` registered, prints the
    message on standard error and ends the process with status 128 + the signal's number.

    Only the main thread can receive signals; in any other thread nothing is done.

    Args:
        message: Makes the line that the other thread prints.
    """
    global _exit_lock
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _exit_lock = threading.RLock()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_watch, args=(reader, message, _exit_lock), daemon=True).start()
    before = {number: signal.signal(number, _raise) for number in (signal.SIGINT, signal.SIGTERM)}
    # Python writes to it as soon as a signal arrives; handlers run later, between two instructions of the main thread.
    outer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()


@contextlib.contextmanager
def before_exit(act: Callable[[], None]) -> Iterator[None]:
    """Register what another thread must do if it ends the process while the main thread is busy."""
    _cleanups.append(act)
    try:
        yield
    finally:
        _cleanups.remove(act)


def claim_exit() -> None:
    """Let the main thread end the process; if another thread is already ending it, this call never returns."""
    _exit_lock.acquire()


def end_process(status: int, line: str | None = None) -> NoReturn:
    """End the process at once, from any thread and without cleaning up.

    Args:
        status: Exit status.
        line: Printed on standard error first.
    """
    try:
        if line is not None:
            if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
                # Progress bars, which nothing else takes away now.
                line = f"\r\x1b[J{line}"
            print(line, file=sys.stderr, flush=True)
    finally:
        os._exit(status)


class StopSignals:
    """Handlers of SIGINT and SIGTERM for the time of a training, which then ends between two steps.

    The first signal is passed on, so that the training can end after its step. If the step lasts more than a second,
    or a second signal arrives, :class:`Interrupted` is raised inside the step.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether a signal arrived."""
        self._number: int = signal.SIGINT
        self._before: dict[int, Any] = {}

    def install(self, on_first: Callable[[], None]) -> None:
        """Replace the handlers; only the main thread can, in any other thread nothing is done.

        Args:
            on_first: Called when the first signal arrives.
        """
        self.asked = False
        if threading.current_thread() is not threading.main_thread():
            return

        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                self.end()
            self.asked, self._number = True, number
            on_first()
            signal.setitimer(signal.ITIMER_REAL, _STEP)

        self._before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self.end)

    def restore(self) -> None:
        """Put the former handlers back."""
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def end(self, *_: object) -> NoReturn:
        """Raise :class:`Interrupted` with the signal that arrived."""
        raise Interrupted(self._number)


@contextlib.contextmanager
def requeued_after_saving() -> Iterator[None]:
    """Save the state before a job of a cluster is requeued.

    A cluster sends SIGUSR2 shortly before a job's time limit, and submitit's handler requeues the job and exits at
    once. Here SIGUSR2 first ends the training as SIGTERM does, which saves its state; then submitit's handler runs.
    """
    warned = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal warned
        warned = True
        os.kill(os.getpid(), signal.SIGTERM)

    requeue = signal.signal(signal.SIGUSR2, end)
    try:
        yield
    except KeyboardInterrupt:
        if warned and callable(requeue):
            requeue(signal.SIGUSR2, None)
        raise
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL if requeue is None else requeue)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _watch(reader: socket.socket, message: Callable[[], str], exit_lock: Any) -> None:
    with reader:
        number = 0
        while number not in (signal.SIGINT, signal.SIGTERM):
            received = reader.recv(1)
            if not received:
                return
            number = received[0]
        time.sleep(_PATIENCE)
        if exit_lock.acquire(blocking=False):
            line = None
            try:
                for act in _cleanups:
                    act()
                line = message()
            finally:
                end_process(Interrupted(number).status, line)
        # Further signals must be read, or the socket's buffer fills up.
        while reader.recv(1):
            pass
