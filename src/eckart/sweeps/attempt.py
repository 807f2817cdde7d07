"""Training a stack so that a job that fails does not stop the others."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from eckart import deferred
from eckart.errors import concerns_all, one_line, wants_traceback, warn_in_one_line
from eckart.laws import check
from eckart.results import terminal
from eckart.results.screen import Screen
from eckart.runs.stack import Stack
from eckart.sweeps.workers import workers


def training() -> Callable[[Stack], list[dict[str, Any]]]:
    """Import what trains a stack."""
    with deferred.kept():
        from eckart.runs.run import run
    return run


def attempt(stack: Stack) -> list[dict[str, Any]]:
    """Train a stack; the result of a job that cannot be trained has the status ``failed`` and the error.

    If training a stack raises an error, each half of the stack is trained by itself. So a job that cannot be trained
    fails alone, and a stack that is too large for the memory is split. Failures in a sweep are printed on standard
    error as they happen.

    Returns:
        The result of each job, as in its ``result.json``; an empty list in a process that only helps to train.

    Raises:
        OSError: If the disk is full or read-only, so that every other job of the sweep would fail as well.
        Exception: The error of a single job, if the user asked for tracebacks.
    """
    warn_in_one_line()
    try:
        if stack.width is None:
            # Else the jobs were checked as they were put together.
            for job in stack.jobs:
                check(job.config, job.choices, alone=job.sweep is None)
        with workers(stack):
            # Imported here, while the other processes import it too.
            trained = training()(stack)
    except Exception as error:
        if concerns_all(error) and stack.jobs[0].sweep is not None:
            raise
        if len(stack.jobs) > 1:
            first, second = stack.halves()
            return attempt(first) + attempt(second)
        if wants_traceback():
            raise
        trained = [stack.jobs[0].fail(one_line(error))]
    for job, result in zip(stack.jobs, trained, strict=False):
        if job.sweep is not None and result["status"] != "completed":
            # Printed now, since the other jobs can take hours; by tqdm, so that the progress bar stays whole.
            tqdm.write(terminal.failure(result, job.title, job.folder, Screen.of(sys.stderr)), file=sys.stderr)
    return trained
