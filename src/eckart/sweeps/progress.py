"""The progress of a sweep on the terminal."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from eckart.printable import visible
from eckart.results.bar import Bar, Field, time_left
from eckart.results.screen import Screen


class Pace:
    """An estimate of the time that the jobs of a sweep still take, from those that have ended.

    Jobs of one method take about as long as each other; a method of which none has ended counts as the mean of the
    others. Where no group is said to begin, groups run side by side elsewhere, and the pace of all jobs counts.

    Args:
        jobs: Method of each job that is to run.
        clock: Tells the time in seconds.

    Example:
        >>> seconds = iter([0.0, 0.0, 4.0, 7.0])
        >>> pace = Pace(["svd"] * 4, clock=lambda: next(seconds))
        >>> pace.begin("svd", 2)
        >>> pace.end("svd", 2)
        >>> pace.left()
        4.0
    """

    def __init__(self, jobs: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting, self._clock = Counter(jobs), clock
        self._start = self._began = clock()
        self._group: tuple[str, int] | None = None
        self._serial = False
        self._ended: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def begin(self, method: str, jobs: int) -> None:
        """A group of jobs begins, and runs alone until it ends."""
        self._group, self._serial, self._began = (method, jobs), True, self._clock()
        self._waiting[method] -= jobs

    def end(self, method: str, jobs: int) -> None:
        """A group has ended."""
        self._ended[method] += jobs
        if self._serial:
            self._seconds[method] = self._seconds.get(method, 0.0) + self._clock() - self._began
            self._group = None
        else:
            self._waiting[method] -= jobs

    def left(self) -> float | None:
        """Seconds that are left; None before any group has ended, and where one takes longer than was estimated."""
        now, ended = self._clock(), self._ended.total()
        if not ended:
            return None
        if not self._serial:
            return self._waiting.total() * (now - self._start) / ended
        mean = sum(self._seconds.values()) / ended
        cost = {method: seconds / self._ended[method] for method, seconds in self._seconds.items()}
        left = sum(jobs * cost.get(method, mean) for method, jobs in self._waiting.items())
        if self._group is not None:
            method, jobs = self._group
            current = jobs * cost.get(method, mean) - (now - self._began)
            return None if current < 0 else left + current
        return left


class Board:
    """A line on the jobs of a sweep, shown only on a terminal: done, failed, what runs now, and the time that is left.

    Args:
        jobs: Method of each job that is to run.
        completed: Number of jobs that an earlier run completed.
        hidden: Whether it is never shown.
    """

    def __init__(self, jobs: Sequence[str], completed: int, *, hidden: bool = False) -> None:
        self._done, self._total, self._failed = completed, completed + len(jobs), 0
        self._now, self._pace = "starting", Pace(jobs)
        self._screen = Screen.of(sys.stderr)
        self._bar = Bar(self._told, hidden=hidden or None, delay=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def begin(self, method: str, jobs: int) -> None:
        """Show the group that runs now: its method, and of a stack its size."""
        self._pace.begin(method, jobs)
        self._now = f"{visible(method)} ×{jobs}" if jobs > 1 else visible(method)
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Show a text in place of the group that runs now."""
        self._now = text
        self._bar.refresh()

    def add(self, method: str, completed: Sequence[bool]) -> None:
        """Count the jobs of a group that has ended, and those of them that failed."""
        self._done += len(completed)
        self._failed += len(completed) - sum(completed)
        self._pace.end(method, len(completed))
        self._bar.refresh()

    def _told(self) -> tuple[float, Sequence[Field]]:
        failed = self._screen.paint(f"{self._failed} failed", "red") if self._failed else ""
        return self._done / max(self._total, 1), [
            Field(0, f"{self._done} of {self._total} jobs"),
            Field(1, failed),
            Field(3, self._now),
            Field(2, time_left(self._pace.left(), "≈") if self._done < self._total else ""),
        ]
