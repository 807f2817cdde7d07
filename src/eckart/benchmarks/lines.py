"""What was measured of one contender, and ratios of two."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """What was measured of one contender.

    Attributes:
        name: The contender.
        seconds: Of each timed run, in the order of the rounds.
        warmed_up: Whether a run or a warm-up came before the first timed run.
        memory: Peak in bytes: beyond the state before the run, or of the whole process for a command.
        error: Of the first timed run; None where nothing is compared.
        said: What was said of the outcome.
        note: What the table must say of it.
        failed: Why it did not run to its end; None if it did.
    """

    name: str
    seconds: Sequence[float] = ()
    warmed_up: bool = True
    memory: float | None = None
    error: float | None = None
    said: str = ""
    note: str = ""
    failed: str | None = None

    @property
    def median(self) -> float:
        """Median of the seconds; NaN if there are none."""
        return statistics.median(self.seconds) if self.seconds else math.nan

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median: how far runs of the same task differ.

        Example:
            >>> Line("ours", [1.0, 1.1, 1.2, 1.3, 1.4]).spread
            0.0833...
        """
        if len(self.seconds) < 3:
            low, high = (min(self.seconds), max(self.seconds)) if self.seconds else (math.nan, math.nan)
        else:
            low, _, high = statistics.quantiles(self.seconds, method="inclusive")
        return (high - low) / 2 / self.median

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; see :func:`line_of`."""
        return asdict(self)


def line_of(plain: dict[str, Any]) -> Line:
    """A line from what JSON holds.

    Example:
        >>> line_of(Line("ours", [0.5]).plain()).median
        0.5
    """
    return Line(**plain)


def ratio(line: Line, other: Line) -> float | None:
    """How many times as long a contender takes as another: the median over the rounds that both ran.

    The runs of a round lie side by side in time, so that a machine that is slower for a while slows both.

    Example:
        >>> ratio(Line("slow", [2.0, 6.0]), Line("fast", [1.0, 3.0, 1.0]))
        2.0
        >>> ratio(Line("failed"), Line("fast", [1.0])) is None
        True
    """
    pairs = list(zip(line.seconds, other.seconds, strict=False))
    return statistics.median(mine / its for mine, its in pairs) if pairs else None
