"""The progress of a sweep on the terminal."""

from types import TracebackType
from typing import Self

from tqdm import tqdm


class Board:
    """A progress bar over the jobs of a sweep; shown only on a terminal.

    Args:
        total: Number of all jobs.
        completed: Number of jobs that an earlier run completed.
    """

    def __init__(self, total: int, completed: int) -> None:
        self._left, self._failed = total - completed, 0
        self._bar = tqdm(
            total=total,
            initial=completed,
            disable=None,
            dynamic_ncols=True,
            leave=False,
            bar_format="{percentage:3.0f}% {bar} {n_fmt} of {total_fmt} jobs{postfix}, {elapsed}, {remaining} left",
        )

    def __enter__(self) -> Self:
        self._show()
        self._bar.refresh()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def add(self, *, completed: bool) -> None:
        """Count a job that has ended."""
        self._failed += not completed
        self._left -= 1
        self._show()
        self._bar.update()
        self._bar.refresh()

    def _show(self) -> None:
        self._bar.set_postfix_str(f"{self._failed} failed, {self._left} remaining", refresh=False)
