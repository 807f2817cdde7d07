import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from eckart.nn.low_rank_linear import LowRankLinear
from eckart.nn.start_values import normal, spectral, spectral_factors


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (8, 8), (1, 5)])
def test_singular_values_are_distributed_as_those_of_a_normal_matrix(shape: tuple[int, int]) -> None:
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    rank = min(3, *shape)
    ours, dense = [], []
    for _ in range(400):
        left, right = spectral_factors(*shape, rank, deviation=0.5, generator=generator)
        ours.append(np.linalg.svd((left @ right).numpy(), compute_uv=False)[:rank])
        dense.append(np.linalg.svd(0.5 * rng.standard_normal(shape), compute_uv=False)[:rank])
    for column in range(rank):
        assert stats.ks_2samp(np.array(ours)[:, column], np.array(dense)[:, column]).pvalue > 1e-3


def test_entries_at_full_rank_are_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    entries = []
    for _ in range(300):
        left, right = spectral_factors(3, 2, 2, deviation=2.0, generator=generator)
        entries.append((left @ right).numpy())
    for column in np.array(entries).reshape(300, 6).T:
        assert stats.kstest(column / 2, "norm").pvalue > 1e-3
    correlations = np.corrcoef(np.array(entries).reshape(300, 6).T) - np.eye(6)
    assert np.abs(correlations).max() < 0.25


def test_factors_are_balanced_and_follow_the_generator() -> None:
    first, second = (spectral_factors(9, 6, 4, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    gram = first[0].mT @ first[0]
    torch.testing.assert_close(gram, first[1] @ first[1].mT)
    torch.testing.assert_close(gram, torch.diag(gram.diag()))
    assert (gram.diag().diff() <= 0).all()


def test_a_layer_keeps_the_variance_of_the_dense_one() -> None:
    layer = LowRankLinear(300, 200, rank=200)
    spectral(layer, gain=2.0, generator=torch.Generator().manual_seed(0))
    assert float((layer.left @ layer.right).detach().std()) == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert layer.bias is not None and not layer.bias.any()


def test_a_layer_with_groups() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Parameter(torch.zeros(2, 6, 4)), nn.Parameter(torch.zeros(2, 4, 5))
            self.bias, self.shape = None, (12, 5, 1, 1)

    layer = Grouped()
    spectral(layer, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(layer.left[0], layer.left[1])
    gram = layer.left.mT @ layer.left
    torch.testing.assert_close(gram, torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1)), atol=1e-5, rtol=0)


def test_normal_factors_give_the_variance_of_the_dense_weight() -> None:
    layer = LowRankLinear(400, 300, rank=40)
    normal(layer, gain=2.0, generator=torch.Generator().manual_seed(0))
    assert float((layer.left @ layer.right).detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert float(layer.left.detach().std()) == pytest.approx(float(layer.right.detach().std()), rel=0.05)
    assert layer.bias is not None and not layer.bias.any()
