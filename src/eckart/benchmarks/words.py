"""Measured quantities as text."""

from collections.abc import Sequence

from eckart.benchmarks.lines import Line, ratio
from eckart.benchmarks.record import Verdict
from eckart.results.numbers import NONE, scientific


def seconds(value: float | None) -> str:
    """Seconds to three digits.

    Example:
        >>> seconds(123.4), seconds(1.234), seconds(0.01234), seconds(0.0001234), seconds(None)
        ('123 s', '1.23 s', '12.3 ms', '123 µs', '–')
    """
    if value is None or value != value:
        return NONE
    unit, scale = next(((unit, scale) for unit, scale in (("s", 1), ("ms", 1e3)) if value * scale >= 1), ("µs", 1e6))
    return f"{_three(value * scale)} {unit}"


def memory(value: float | None) -> str:
    """Bytes as megabytes.

    Example:
        >>> memory(2.345e9), memory(4.2e6), memory(1e5), memory(None)
        ('2,345 MB', '4.2 MB', '0.1 MB', '–')
    """
    if value is None:
        return NONE
    return f"{value / 1e6:,.0f} MB" if value >= 1e7 else f"{value / 1e6:.1f} MB"


def times(value: float | None) -> str:
    """A ratio.

    Example:
        >>> times(1234.5), times(1.234), times(0.1234), times(None)
        ('1,234×', '1.23×', '0.123×', '–')
    """
    return NONE if value is None else f"{_three(value)}×"


def error(line: Line) -> str:
    """The error of a contender."""
    return scientific(line.error)


def slower(peer: Line, ours: Line) -> str:
    """How many times as long a peer takes as ours; a bound where it was stopped."""
    return times(ratio(peer, ours))


def runs(line: Line) -> str:
    """How often it ran.

    Example:
        >>> runs(Line("a", [1.0, 1.0])), runs(Line("a", [9.0], warmed_up=False))
        ('2', '1, cold')
    """
    return f"{len(line.seconds)}{'' if line.warmed_up else ', cold'}"


def verdict(found: Verdict) -> str:
    """What was found of a goal, and whether it is reached."""
    if found.value is None:
        return "not measured"
    shown = {"×": times, "s": seconds, "": scientific}.get(found.unit, lambda value: f"{value:,.0f} {found.unit}")
    return f"{shown(found.value)}, {'reached' if found.reached else 'missed'}"


def remarks(line: Line) -> Sequence[str]:
    """What is to be said of a contender besides its numbers."""
    return [text for text in (line.failed, line.said, line.note) if text]


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
