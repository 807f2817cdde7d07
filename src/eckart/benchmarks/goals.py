"""Goals of a case, as a text and as a bound that measurements are held to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eckart.benchmarks.lines import Line, ratio


@dataclass(frozen=True)
class Found:
    """What a goal found.

    Attributes:
        value: The quantity that the goal bounds.
        reached: Whether the bound holds.
    """

    value: float
    reached: bool


@dataclass(frozen=True)
class Goal:
    """A goal.

    Attributes:
        text: The law in words.
        check: Finds the quantity from the lines of the case, ours first; None where a peer that it needs did not run.
        unit: What stands behind the value: ``×``, ``s``, ``MB``.
    """

    text: str
    check: Callable[[Sequence[Line]], Found | None]
    unit: str = "×"


def faster_than(peer: str, times: float) -> Goal:
    """The peer takes at least ``times`` as long as ours."""

    def check(lines: Sequence[Line]) -> Found | None:
        found = _by_name(lines).get(peer)
        value = None if found is None else ratio(found, lines[0])
        return None if value is None else Found(value, value >= times)

    return Goal(f"at least {times:g} times as fast as {peer}", check)


def at_most_of(peer: str, times: float, plus: float = 0.0) -> Goal:
    """Ours takes at most ``times`` as long as the peer, plus some seconds."""

    def check(lines: Sequence[Line]) -> Found | None:
        found = _by_name(lines).get(peer)
        if found is None or not found.seconds or not lines[0].seconds:
            return None
        value = ratio(lines[0], found)
        assert value is not None
        reached = value <= times if not plus else lines[0].median <= times * found.median + plus
        return Found(value, reached)

    return Goal(f"at most {times:g} times the time of {peer}{f', plus {plus:g} s' if plus else ''}", check)


def within_of_fastest(times: float, level: float) -> Goal:
    """Ours takes at most ``times`` as long as the fastest peer whose error is not larger.

    Args:
        times: The bound.
        level: Errors up to this one are equal.
    """

    def check(lines: Sequence[Line]) -> Found | None:
        ours, *peers = lines
        if ours.error is None:
            return None
        bound = max(level, 1.1 * ours.error)
        found = [ratio(ours, peer) for peer in peers if peer.error is not None and peer.error <= bound]
        known = [value for value in found if value is not None]
        return Found(max(known), max(known) <= times) if known else None

    return Goal(f"at most {times:g} times the time of the fastest peer of equal accuracy", check)


def seconds_at_most(seconds: float) -> Goal:
    """Ours takes at most so many seconds."""

    def check(lines: Sequence[Line]) -> Found | None:
        return Found(lines[0].median, lines[0].median <= seconds) if lines[0].seconds else None

    return Goal(f"at most {seconds:g} s", check, "s")


def memory_share(peer: str, share: float) -> Goal:
    """Ours takes at most a share of the extra memory of the peer."""

    def check(lines: Sequence[Line]) -> Found | None:
        found = _by_name(lines).get(peer)
        if found is None or not found.memory or lines[0].memory is None:
            return None
        value = lines[0].memory / found.memory
        return Found(value, value <= share)

    return Goal(f"at most 1/{1 / share:.0f} of the extra memory of {peer}", check)


def memory_at_most(megabytes: float) -> Goal:
    """Ours takes at most so much memory."""

    def check(lines: Sequence[Line]) -> Found | None:
        if lines[0].memory is None:
            return None
        value = lines[0].memory / 1e6
        return Found(value, value <= megabytes)

    return Goal(f"at most {megabytes:g} MB of memory", check, "MB")


def error_at_most(bound: float) -> Goal:
    """Our error is at most a bound."""

    def check(lines: Sequence[Line]) -> Found | None:
        error = lines[0].error
        return None if error is None else Found(error, error <= bound)

    return Goal(f"an error of at most {bound:g}", check, "")


def no_larger_error_than(peer: str) -> Goal:
    """Our error is at most that of the peer."""

    def check(lines: Sequence[Line]) -> Found | None:
        ours, found = lines[0].error, _by_name(lines).get(peer)
        if ours is None or found is None or found.error is None:
            return None
        return Found(ours, ours <= found.error)

    return Goal(f"an error of at most that of {peer}", check, "")


def _by_name(lines: Sequence[Line]) -> Mapping[str, Line]:
    return {line.name: line for line in lines}
