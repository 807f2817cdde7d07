"""The size of a stack, by measurement: how long a step takes a job, in stacks that grow."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from eckart.linalg.row_threads import threads
from eckart.methods.driven import DrivenMethod
from eckart.runs.process import quiet
from eckart.runs.run import build
from eckart.runs.stack import Stack

# A stack is too large where its jobs take this much longer than those of the best one: it no longer fits the caches.
_WORSE = 1.25
# Seconds that are measured at each size, and in all.
_EACH, _ALL = 0.02, 3.0


@dataclasses.dataclass(frozen=True)
class Curve:
    """Seconds that a step takes each job of a stack, by the size of the stack.

    Attributes:
        sizes: Numbers of jobs, growing.
        seconds: Of a step, divided by the number of jobs.

    Example:
        >>> curve = Curve((1, 4, 16, 64), (8e-5, 2.1e-5, 2e-5, 3e-5))
        >>> curve.size, curve.stacks(40)
        (16, [14, 13, 13])
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def size(self) -> int:
        """The largest stack whose jobs take at most a quarter longer than those of the best one.

        Beyond the size at which the cores are busy a larger stack saves no arithmetic, but its members still share one
        trainer, one recorder and one start.
        """
        least = min(self.seconds)
        pairs = zip(self.sizes, self.seconds, strict=True)
        return max(size for size, each in pairs if each <= _WORSE * least)

    def stacks(self, jobs: int) -> list[int]:
        """Sizes of the stacks that some jobs are divided into, as equal as can be.

        One stack where no size that was measured is too large.

        Example:
            >>> Curve((1, 4, 16), (8e-5, 2e-5, 2e-5)).stacks(40)
            [40]
        """
        if self.size == self.sizes[-1]:
            return [jobs]
        count = -(-jobs // self.size)
        return [jobs // count + (place < jobs % count) for place in range(count)]

    def fields(self) -> dict[str, Any]:
        """As it is written to a file."""
        return {"size": self.size, "sizes": list(self.sizes), "seconds_per_job_and_step": list(self.seconds)}


def measured(stack: Stack, sizes: Sequence[int] | None = None) -> Curve | None:
    """Measure the steps of a stack's first 1, 4, 16, … jobs, until the time of a job rises.

    Nothing is written, and no job is trained: each size has its data and its method, which are forgotten.

    Args:
        stack: The jobs, of which all have what is needed to be stacked.
        sizes: Sizes to measure, all of them; None chooses.

    Returns:
        The curve; None if the method does not train in steps.

    Raises:
        Exception: Whatever keeps a job from being trained.
    """
    found: list[tuple[int, float]] = []
    began = time.perf_counter()
    with quiet():
        for size in _growing(len(stack.jobs)) if sizes is None else sizes:
            method = build(Stack(stack.jobs[:size], stack.width))
            if not isinstance(method, DrivenMethod):
                return None
            with threads(one=method.one_thread):
                found.append((size, method.seconds_per_step(_EACH) / size))
            least = min(each for _, each in found)
            if sizes is None and (found[-1][1] > _WORSE * least or time.perf_counter() - began > _ALL):
                break
    return Curve(*zip(*found, strict=True))


def _growing(most: int) -> Iterator[int]:
    size = 1
    while size <= most:
        yield size
        size *= 4
