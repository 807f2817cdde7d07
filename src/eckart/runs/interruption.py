"""Ending a process that is asked to, also where it is busy in a call that cannot be left."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from eckart.errors import Interrupted

# Seconds that the main thread has to begin to end.
_PATIENCE = 1.5
_left: list[Callable[[], None]] = []
_turn = threading.RLock()


@contextlib.contextmanager
def interruptible(say: Callable[[], str]) -> Iterator[None]:
    """Raise :class:`Interrupted` in the main thread when the process gets SIGINT or SIGTERM.

    One call of a library can take minutes, and nothing is raised before it returns. Another thread then does what is
    left to do, says the last words and ends the process with 128 and the signal's number.

    Args:
        say: Gives the last words.
    """
    global _turn
    _turn = threading.RLock()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_watch, args=(reader, say, _turn), daemon=True).start()
    before = {number: signal.signal(number, _raise) for number in (signal.SIGINT, signal.SIGTERM)}
    # Written to at once, unlike the handlers, which wait for the main thread.
    outer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()


@contextlib.contextmanager
def left_to_do(act: Callable[[], None]) -> Iterator[None]:
    """Name what has to be done before the process ends, should the main thread not come to it."""
    _left.append(act)
    try:
        yield
    finally:
        _left.remove(act)


def take_turn() -> None:
    """Say that the main thread ends the process itself; where another does already, this never returns."""
    _turn.acquire()


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _watch(reader: socket.socket, say: Callable[[], str], turn: Any) -> None:
    with reader:
        number = 0
        while number not in (signal.SIGINT, signal.SIGTERM):
            received = reader.recv(1)
            if not received:
                return
            number = received[0]
        time.sleep(_PATIENCE)
        if turn.acquire(blocking=False):
            try:
                for act in _left:
                    act()
                print(say(), file=sys.stderr, flush=True)
            finally:
                os._exit(128 + number)
        # Further signals have to be read by someone.
        while reader.recv(1):
            pass
