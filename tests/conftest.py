"""Fixtures of unit and integration tests. This file also makes ``matrices`` importable from both."""

import os
from collections.abc import Iterator

# Before torch is imported, here and in the processes that tests start: their matrices are so small that a second thread
# costs time. OMP_NUM_THREADS=2 pytest passes as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: on small matrices threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
