"""Jobs that are trained as one."""

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eckart.results.result import CHECKPOINT
from eckart.runs.job import Job

_STATES = ".stacks"


@dataclass(frozen=True)
class Stack:
    """Jobs of one kind that are trained as one tensor program; a single run is a stack of one.

    Args:
        jobs: The jobs, which differ in rank, seed and the content of their targets alone.
        width: Rank that the factors of all are padded to; None: the largest of theirs. What a job of a stack comes out
            as depends on it in the last bits, and on nothing else of its neighbors.
        memory: Bytes that the stack may take by estimate; None: any.
    """

    jobs: Sequence[Job]
    width: int | None = None
    memory: int | None = None

    def halves(self) -> tuple["Stack", "Stack"]:
        """The same jobs in two stacks."""
        middle = len(self.jobs) // 2
        return Stack(self.jobs[:middle], self.width, self.memory), Stack(self.jobs[middle:], self.width, self.memory)

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept while it trains: a job's own beside its result, that of a stack beside its jobs."""
        first = self.jobs[0]
        if len(self.jobs) == 1 or first.sweep is None:
            return first.folder / CHECKPOINT
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:16]
        return first.sweep / _STATES / f"{digest}.ckpt"

    def forget(self) -> None:
        """Take the state away."""
        self.checkpoint.unlink(missing_ok=True)
        if self.checkpoint.parent.name == _STATES:
            # That of another stack can be there as well.
            with contextlib.suppress(OSError):
                self.checkpoint.parent.rmdir()

    @property
    def identity(self) -> str:
        """What makes the results those results, to the last bit."""
        return " ".join([*(job.fingerprint for job in self.jobs), f"width {self.width}"])


def forget_all(sweep: Path) -> None:
    """Take away what is left of the states of a sweep's stacks, once its jobs have ended.

    One that was killed while its results were written is not trained again as that stack.
    """
    shutil.rmtree(sweep / _STATES, ignore_errors=True)
