"""Fixtures of unit and integration tests. This file also makes ``matrices`` importable from both."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported, here and in the processes that tests start: their matrices are so small that a second thread
# costs time. OMP_NUM_THREADS=2 pytest passes as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from matplotlib.figure import Figure


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: on small matrices threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Figures by the name of their file, kept as they are written."""
    from eckart.reproduction import pictures
    from eckart.results.figures import curves, labels, matrices, ranks
    from eckart.results.style import save

    kept: dict[str, Figure] = {}

    def keep(figure: Figure, path: Path) -> Path:
        kept[path.name] = figure
        return save(figure, path)

    for module in (curves, labels, matrices, ranks, pictures):
        monkeypatch.setattr(module, "save", keep)
    return kept
