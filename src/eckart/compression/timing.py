"""Computations timed in turns, and whether one is faster than another beyond the noise."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# A block of calls takes at least so long, so that the clock's resolution and the call itself matter little.
BLOCK_SECONDS = 0.0003
# Of so many blocks the fastest counts: other programs interrupt some of them.
BLOCKS = 5
ROUNDS = 9
MAX_ROUNDS = 45
# Of the intervals that decide which of two is faster.
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Comparison:
    """Times of one module beside another, measured in turns.

    Attributes:
        first: Seconds of a call of the first, median.
        second: Seconds of a call of the second, median.
        ratio: Median of second by first over the rounds. Both of a round are measured right after each other, so what
            slows the machine for longer than a round leaves it alone.
        low: Lower end of the interval that holds the ratio with ``CONFIDENCE``.
        high: Its upper end.
    """

    first: float
    second: float
    ratio: float
    low: float
    high: float

    @property
    def faster(self) -> bool:
        """Whether the second is faster, beyond the noise."""
        return self.high < 1

    @property
    def slower(self) -> bool:
        """Whether the second is slower, beyond the noise."""
        return self.low > 1


def compare(first: Callable[[], Any], second: Callable[[], Any], *, rounds: int = MAX_ROUNDS) -> Comparison:
    """Measure two computations in turns, until it is clear which is faster, or the rounds are used up.

    Args:
        first: The first; is called some times before the clock starts.
        second: The second.
        rounds: Most rounds; at least ``ROUNDS`` are measured.

    Returns:
        The times, the ratio, and an interval for it.

    Note:
        The interval is that of the sign test, which assumes nothing of the noise but that rounds are independent.

    Example:
        >>> x = torch.ones(400, 400)
        >>> compare(lambda: x @ x @ x @ x, lambda: x[0] @ x).faster
        True
    """
    turns = _Turns([first, second])
    done = 0
    while done < max(rounds, ROUNDS):
        turns.measure(ROUNDS)
        done += ROUNDS
        ratios = sorted(b / a for a, b in zip(*turns.seconds, strict=True))
        outside = _outside(len(ratios))
        low, high = ratios[outside - 1 if outside else 0], ratios[-outside if outside else -1]
        if low > 1 or high < 1:
            break
    before, after = (statistics.median(times) for times in turns.seconds)
    return Comparison(before, after, statistics.median(ratios), low, high)


def _outside(count: int) -> int:
    """Values beyond each end of the sign test's interval for a median, and the end itself.

    Example:
        >>> _outside(9), _outside(45)
        (1, 14)
    """
    place, tail = 0, 0.0
    while tail < (1 - CONFIDENCE) / 2:
        tail += math.comb(count, place) / 2**count
        place += 1
    return place - 1


def seconds(
    functions: Sequence[Callable[[], Any]],
    *,
    rounds: int = ROUNDS,
    typical: Callable[[Sequence[float]], float] = statistics.median,
) -> list[float]:
    """Seconds of a call of each of several computations, measured in turns.

    Args:
        functions: The computations.
        rounds: How often each is measured.
        typical: What is taken of the rounds: the median, or the minimum, which other programs disturb least.

    Example:
        >>> x = torch.ones(300, 300)
        >>> less, more = seconds([lambda: x[0] @ x, lambda: x @ x @ x], rounds=3)
        >>> less < more
        True
    """
    turns = _Turns(functions)
    turns.measure(rounds)
    return [float(typical(times)) for times in turns.seconds]


class _Turns:
    """Computations that are measured in turns, in an order that changes from round to round."""

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self.functions = list(functions)
        self.seconds: list[list[float]] = [[] for _ in functions]
        for function in self.functions:
            function()
        counted = [_calls(function) for function in self.functions]
        self.calls, self.times = [calls for calls, _ in counted], [taken for _, taken in counted]

    def measure(self, rounds: int) -> None:
        places = list(range(len(self.functions)))
        for turn in range(rounds):
            for place in places if turn % 2 == 0 else reversed(places):
                function, calls = self.functions[place], self.calls[place]
                blocks = BLOCKS if self.times[place] * calls < BLOCKS * BLOCK_SECONDS else 1
                self.seconds[place].append(min(_block(function, calls) for _ in range(blocks)))


def _calls(function: Callable[[], Any]) -> tuple[int, float]:
    """How many calls fill a block, and about how long one takes."""
    calls = 1
    while True:
        taken = _block(function, calls)
        if calls * taken >= BLOCK_SECONDS or calls >= 1_000_000:
            return calls, taken
        calls = min(calls * 8, math.ceil(1.2 * BLOCK_SECONDS / max(taken, 1e-9)))


def _block(function: Callable[[], Any], calls: int) -> float:
    """Seconds of a call, mean of several."""
    _finish()
    start = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        function()
    _finish()
    return (time.perf_counter() - start) / calls


def _finish() -> None:
    """Wait for what accelerators still compute."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
