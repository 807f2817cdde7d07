"""What becomes of the jobs of a stack: their results and factors on disk, their figures, their trackers' runs."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor

from eckart.errors import concerns_all, one_line
from eckart.results.atomic import replacing
from eckart.results.history import History
from eckart.results.preview import PREVIEW
from eckart.results.result import FIGURES, write_result
from eckart.runs.drawing import Subject, draw, write_preview
from eckart.runs.loggers import Tracker, say_once
from eckart.runs.stack import Stack
from eckart.runs.tensor_file import write_tensors


class Outcome:
    """Results and trackers of the jobs of a stack.

    Args:
        stack: The jobs.

    Attributes:
        jobs: The jobs, with their ranks when those are chosen.
        trackers: Trackers of each job that have not ended: its W&B run, its loggers of Lightning.
        results: The result of each job, as in ``result.json``; None until it is written.
    """

    def __init__(self, stack: Stack) -> None:
        self.jobs = stack.jobs
        # A single run counts from where it was asked for; a job of a sweep waits for others first.
        self._began = self.jobs[0].began if self.jobs[0].sweep is None else time.perf_counter()
        self.trackers: list[list[Tracker]] = [[] for _ in self.jobs]
        self.results: list[dict[str, Any] | None] = [None] * len(self.jobs)
        self._said: set[str] = set()

    def write(
        self,
        member: int,
        fields: Mapping[str, Any],
        name: str,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str],
    ) -> None:
        """Write the factors, or the weights of a net, and the result of a job.

        Args:
            member: The job, by its place in the stack.
            fields: Fields of the result.
            name: Name of the file of the tensors.
            tensors: Factors or weights by their names.
            metadata: What else that file says.

        Raises:
            OSError: If no other job could be written either.
        """
        job = self.jobs[member]
        try:
            with replacing(job.folder / name) as partial:
                write_tensors(partial, tensors, metadata)
            identity = job.identity()
            self.results[member] = write_result(
                job.folder, identity | dict(fields) | {"total_seconds": self._seconds()}
            )
        except OSError as error:
            if concerns_all(error):
                raise
            # The folder of one job is no reason to lose the others.
            self.results[member] = job.fail(one_line(error))

    def present(self, member: int, tensors: Mapping[str, Tensor], history: History, subject: Subject) -> None:
        """Draw the pictures of a job and end its trackers; if that fails, its result stays as it is."""
        job, own, result = self.jobs[member], self.trackers[member], self.results[member]
        if result is None or result["status"] == "failed":
            return
        factors = tensors.get("left"), tensors.get("right")
        if job.previews:
            with self._whole("its preview"):
                write_preview(job.folder, result, subject, *factors)
        if not (job.draws or own):
            return
        drawn = []
        if job.draws:
            with self._whole("its figures"):
                drawn = draw(job.folder / FIGURES, result, history, subject, *factors, suffix=job.suffix)
        # No tracker shows an SVG as an image.
        pixels = [path for path in drawn if path.suffix == ".png"]
        if not pixels and job.previews and (preview := job.folder / PREVIEW).is_file():
            pixels = [preview]
        for tracker in list(own):
            with self._whole(f"its run in {tracker.name}"):
                where = tracker.finish(result, pixels)
                result["wandb_run"] = where or result["wandb_run"]
            own.remove(tracker)
        with self._whole("its last version"):
            self.results[member] = write_result(job.folder, result | {"total_seconds": self._seconds()})

    def interrupt(self) -> None:
        """Leave a result that says so for each job that has none."""
        for job, result in zip(self.jobs, self.results, strict=True):
            # The signal can have come just after a result was written.
            if result is None and job.completed() is None:
                job.fail("interrupted")
        self.close()

    def disown(self) -> None:
        """Remove what trackers have of a stack whose jobs will be tried again in other stacks."""
        if len(self.trackers) > 1:
            self._end("discard")

    def close(self) -> None:
        """End the trackers that are left as failed, all at once: each may wait, and an interrupted process must end."""
        self._end("fail")

    def _end(self, how: str) -> None:
        left = [tracker for own in self.trackers for tracker in own]
        if left:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda tracker: _attempt(getattr(tracker, how)), left))
        self.trackers = [[] for _ in self.jobs]

    @contextlib.contextmanager
    def _whole(self, part: str) -> Iterator[None]:
        """Warn where a part of what comes after the result cannot be made."""
        try:
            yield
        except Exception as error:
            say_once(f"the result is whole, but not {part}: {one_line(error)}", self._said)

    def _seconds(self) -> float:
        return (time.perf_counter() - self._began) / len(self.jobs)


def _attempt(action: Callable[[], None]) -> None:
    # Its run has failed anyway.
    with contextlib.suppress(Exception):
        action()
