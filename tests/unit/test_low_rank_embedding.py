import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian
from torch import nn

from eckart.nn.low_rank_embedding import LowRankEmbedding


def test_it_is_the_truncated_svd_of_the_table() -> None:
    table = nn.Embedding(7, 4, padding_idx=2, dtype=torch.float64)
    table.weight.data = gaussian(7, 4)
    table.weight.data[2] = 0
    layer = LowRankEmbedding.from_embedding(table, 2)
    u, s, vh = scipy.linalg.svd(table.weight.detach().numpy(), full_matrices=False)
    best = (u[:, :2] * s[:2]) @ vh[:2]
    tokens = torch.tensor([[0, 2], [6, 3]])
    np.testing.assert_allclose(layer(tokens).detach(), best[tokens], atol=1e-12)
    back = layer.to_embedding()
    np.testing.assert_allclose(back(tokens).detach(), best[tokens], atol=1e-12)
    assert repr(back) == repr(table)
    layer(tokens).square().sum().backward()
    assert layer.left.grad is not None
    assert bool((layer.left.grad[2] == 0).all())
    assert not bool((layer.left.grad[[0, 3, 6]] == 0).all())


def test_vectors_start_with_variance_one() -> None:
    torch.manual_seed(0)
    layer = LowRankEmbedding(200, 100, 10, padding_idx=3)
    assert layer.weight.var().item() == pytest.approx(1.0, rel=0.2)
    assert bool((layer(torch.tensor(3)) == 0).all())
    assert repr(layer) == "LowRankEmbedding(200, 100, rank=10, padding_idx=3)"


def test_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^The rank must satisfy 1 <= rank <= min\(m, n\) = 4\. Found 5\.$"):
        LowRankEmbedding(7, 4, 5)
