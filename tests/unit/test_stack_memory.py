"""What a stack is estimated to take before it is trained."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from eckart.data.matrix import MatrixData
from eckart.linalg.operators import Sparse
from eckart.runs import run
from eckart.runs.stack import Stack


@pytest.mark.parametrize("needs", ["target", "entries"])
def test_a_sparse_target_takes_what_its_entries_take(needs: str) -> None:
    side = torch.arange(10_000)
    data = MatrixData(
        lambda: Sparse(torch.sparse_coo_tensor(torch.stack([side, side]), torch.ones(10_000), (10_000, 10_000))),
        observed=1e-3,
    )
    data.setup()
    job: Any = SimpleNamespace(config=OmegaConf.create({"method": {"needs": needs}}), rank=3)
    listed = {"target": 10_000, "entries": 100_000}[needs]
    least = 16 * listed + 3 * 8 * 2 * 3 * 10_000
    assert least < run._bytes(Stack([job, job]), data) < 10 * least


def test_a_stored_target_takes_what_its_entries_and_probes_take() -> None:
    data = MatrixData(lambda: torch.ones(200, 100))
    data.setup()
    job: Any = SimpleNamespace(config=OmegaConf.create({"method": {"needs": "target", "vectors": 50}}), rank=3)
    assert run._bytes(Stack([job, job]), data) == 8 * (16 * 200 * 100 + 50 * 300)
