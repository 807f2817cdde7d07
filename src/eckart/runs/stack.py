"""Jobs that are trained together."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eckart.config import plain
from eckart.results.result import CHECKPOINT
from eckart.runs.fingerprint import fingerprint
from eckart.runs.job import Job

_STATES = ".stacks"


@dataclass(frozen=True)
class Stack:
    """Jobs of one kind that are trained as one tensor program; a single run is a stack of one.

    Args:
        jobs: The jobs, which differ only in rank, seed and the content of their targets.
        width: Rank that all factors are padded to; None: the largest rank of the jobs. The last bits of a job's numbers
            depend on the width, and on nothing else of the other jobs.
        memory: Estimated bytes that the stack may use; None: any number.
    """

    jobs: Sequence[Job]
    width: int | None = None
    memory: int | None = None

    def halves(self) -> tuple["Stack", "Stack"]:
        """The jobs in two stacks of the same width."""
        middle = len(self.jobs) // 2
        return Stack(self.jobs[:middle], self.width, self.memory), Stack(self.jobs[middle:], self.width, self.memory)

    @property
    def checkpoint(self) -> Path:
        """File of the state: in the folder of the job, or for several jobs in a hidden folder of their sweep."""
        first = self.jobs[0]
        if len(self.jobs) == 1 or first.sweep is None:
            return first.folder / CHECKPOINT
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:16]
        return first.sweep / _STATES / f"{digest}.ckpt"

    def common(self, settings: Sequence[str]) -> Path | None:
        """File of a state that jobs of the sweep share which differ in no other than these settings of the method.

        Args:
            settings: Names of the settings of the method that decide that state.

        Returns:
            The file; None for a single run, and where the method has no such settings.
        """
        first = self.jobs[0]
        if not settings or first.sweep is None or len(self.jobs) > 1:
            return None
        config = plain(first.config)
        config["method"] = {name: value for name, value in config["method"].items() if name in settings}
        del config["rank"], config["budget"]
        return first.sweep / _STATES / f"common-{fingerprint(config)}.ckpt"

    def forget(self) -> None:
        """Remove the state."""
        self.checkpoint.unlink(missing_ok=True)

    @property
    def identity(self) -> str:
        """A text that is equal for stacks whose results are equal to the last bit."""
        return " ".join([*(job.fingerprint for job in self.jobs), f"width {self.width}"])


def forget_all(sweep: Path) -> None:
    """Remove the states of all stacks of a sweep, when its jobs have ended.

    The state of a stack can be left: if the process is killed while it writes the results of a stack, the jobs that
    are not completed are trained later as another stack.
    """
    shutil.rmtree(sweep / _STATES, ignore_errors=True)
