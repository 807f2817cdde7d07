"""What becomes of the jobs of a stack: their results and factors on disk, their figures, their W&B runs."""

import time
import warnings
from collections.abc import Mapping
from typing import Any

import wandb
from safetensors.torch import save
from torch import Tensor

from eckart.errors import concerns_all, one_line
from eckart.results.atomic import replacing
from eckart.results.history import History
from eckart.results.result import FACTORS, FIGURES, write_result
from eckart.runs.drawing import Subject, draw, write_preview
from eckart.runs.stack import Stack
from eckart.tracking import live


class Outcome:
    """Results and W&B runs of the jobs of a stack.

    Args:
        stack: The jobs.

    Attributes:
        runs: The W&B run of each job, or None.
        results: The result of each job, as in ``result.json``; None until it is written.
    """

    def __init__(self, stack: Stack) -> None:
        self._jobs = stack.jobs
        # A single run counts from where it was asked for; a job of a sweep waits for others first.
        self._began = self._jobs[0].began if self._jobs[0].sweep is None else time.perf_counter()
        self.runs: list[wandb.Run | None] = [None] * len(self._jobs)
        self.results: list[dict[str, Any] | None] = [None] * len(self._jobs)

    def write(self, member: int, fields: Mapping[str, Any], factors: Mapping[str, Tensor]) -> None:
        """Write the factors and the result of a job.

        Raises:
            OSError: If no other job could be written either.
        """
        job = self._jobs[member]
        try:
            with replacing(job.folder / FACTORS) as partial:
                partial.write_bytes(save({name: factor.contiguous() for name, factor in factors.items()}))
            identity = job.identity()
            self.results[member] = write_result(
                job.folder, identity | dict(fields) | {"total_seconds": self._seconds()}
            )
        except OSError as error:
            if concerns_all(error):
                raise
            # The folder of one job is no reason to lose the others.
            self.results[member] = job.fail(one_line(error))

    def present(self, member: int, factors: Mapping[str, Tensor], history: History, subject: Subject) -> None:
        """Draw the pictures of a job and end its W&B run; if that fails, its result stays as it is."""
        job, run, result = self._jobs[member], self.runs[member], self.results[member]
        if result is None or result["status"] == "failed":
            return
        try:
            if job.previews:
                write_preview(job.folder, result, subject, **factors)
            if not (job.draws or run is not None):
                return
            drawn = []
            if job.draws:
                folder = job.folder / FIGURES
                drawn = draw(folder, result, history, subject, **factors, suffix=job.suffix)
            if run is not None:
                # W&B shows no SVG as an image.
                pixels = [path for path in drawn if path.suffix == ".png"]
                result["wandb_run"] = live.finish(run, result, pixels)
                self.runs[member] = None
            self.results[member] = write_result(job.folder, result | {"total_seconds": self._seconds()})
        except Exception as error:
            warnings.warn(f"the result is whole, but not its figures or its W&B run: {one_line(error)}", stacklevel=2)

    def interrupt(self) -> None:
        """Leave a result that says so for each job that has none."""
        for job, result in zip(self._jobs, self.results, strict=True):
            # The signal can have come just after a result was written.
            if result is None and job.completed() is None:
                job.fail("interrupted")
        self.close()

    def disown(self) -> None:
        """Remove the W&B runs of a stack whose jobs will be tried again in other stacks."""
        for member, run in enumerate(self.runs):
            if len(self.runs) > 1 and run is not None:
                live.discard(run)
                self.runs[member] = None

    def close(self) -> None:
        """End the W&B runs that are left as failed."""
        live.fail([run for run in self.runs if run is not None])
        self.runs = [None] * len(self._jobs)

    def _seconds(self) -> float:
        return (time.perf_counter() - self._began) / len(self._jobs)
