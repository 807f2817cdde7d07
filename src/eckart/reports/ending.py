"""The page that a command writes when its run or sweep has ended: ``report=true``."""

import sys
import time
from pathlib import Path

from eckart.errors import one_line

LONG = 60.0
"""Seconds of a sweep after which it writes its page unasked: the page takes some 3 of them."""


class Reporting:
    """Writes the page of a run or a sweep at its end.

    Args:
        asked: ``report`` of the config; None for a page only of what took a minute or longer.
    """

    def __init__(self, asked: bool | None) -> None:
        self._asked = asked
        self._began = time.monotonic()

    def write(self, folder: Path) -> None:
        """Write the page if it is due and print its path; if that fails, a warning is all that happens.

        Args:
            folder: The folder of the run or the sweep.
        """
        due = time.monotonic() - self._began >= LONG if self._asked is None else self._asked
        if not due:
            return
        try:
            # A process that writes no page needs nothing of it.
            from eckart.reports import page

            print(f"report: {page.write([folder]).line()}")
        except Exception as error:
            print(f"warning: the results are whole, but their page is not written: {one_line(error)}", file=sys.stderr)
