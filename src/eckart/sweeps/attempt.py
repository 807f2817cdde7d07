"""Training jobs so that one that fails takes no other along."""

import sys
from typing import Any

from tqdm import tqdm

from eckart.config import check
from eckart.errors import concerns_all, one_line, wants_traceback, warn_in_one_line
from eckart.results import terminal
from eckart.runs.stack import Stack
from eckart.sweeps.workers import workers


def attempt(stack: Stack) -> list[dict[str, Any]]:
    """Train a stack; a job that cannot be trained has a result that says ``failed``, and why.

    A stack that fails is tried again in halves. So one job that cannot be trained fails alone, and a stack that is too
    large for the memory becomes several. What fails in a sweep is said on standard error.

    Returns:
        The result of each job, as in its ``result.json``; nothing in a process that only helps another to train.

    Raises:
        OSError: If the disk is full or can only be read, which no other job would get around.
        Exception: What a single job failed of, if tracebacks are asked for.
    """
    warn_in_one_line()
    try:
        for job in stack.jobs:
            check(job.config, job.choices)
        with workers(stack):
            # Imported here, so that all processes load it at the same time.
            from eckart.runs.run import run

            trained = run(stack)
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
            # At once: the other jobs of the sweep can take hours. Not through its progress bar.
            tqdm.write(terminal.failure(result, job.title, job.folder), file=sys.stderr)
    return trained
