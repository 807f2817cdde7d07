import copy

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from eckart.linalg.metrics import Excess2Norm, ExcessFrobenius, NumericalRank, Relative2Norm, RelativeFrobenius
from eckart.linalg.optimality import relative_errors


def by_numpy(target: Tensor, left: Tensor, right: Tensor) -> list[Tensor]:
    a, w = target.double().numpy(), left.double().numpy() @ right.double().numpy()
    return [
        torch.as_tensor(np.linalg.norm(a - w, order, (-2, -1)) / np.linalg.norm(a, order, (-2, -1)))
        for order in (2, "fro")
    ]


def test_metrics_give_one_figure_for_each_matrix_over_updates() -> None:
    ranks = torch.tensor([1, 2])
    target, left, right = gaussian(2, 9, 6), gaussian(2, 9, 2, seed=1), gaussian(2, 2, 6, seed=2)
    left[0, :, 1] = 0
    reference = by_numpy(target, left, right)
    spectrum = np.linalg.svd(target.numpy(), compute_uv=False)
    floor_2norm = torch.as_tensor([spectrum[0, 1] / spectrum[0, 0], spectrum[1, 2] / spectrum[1, 0]])
    tails = [np.linalg.norm(s[k:]) / np.linalg.norm(s) for s, k in zip(spectrum, (1, 2), strict=True)]
    expected = {
        Relative2Norm(): reference[0],
        RelativeFrobenius(): reference[1],
        Excess2Norm(ranks): reference[0] - floor_2norm,
        ExcessFrobenius(ranks): reference[1] - torch.as_tensor(tails),
        NumericalRank(): ranks,
    }
    for metric, figures in expected.items():
        metric.update(target, left, right)
        metric.update(target.flip(0).flip(0), left, right)
        found = metric.compute()
        assert found.shape == (4,)
        np.testing.assert_allclose(found, torch.cat([figures, figures]), atol=1e-10)


def test_metric_resets_merges_copies_and_keeps_its_shape_for_a_single_matrix() -> None:
    one, two = [(gaussian(4, 3, seed=seed), gaussian(4, 1), gaussian(1, 3)) for seed in (1, 2)]
    figures = [float(relative_errors(*one)[1]), float(relative_errors(*two)[1])]
    metric, other = RelativeFrobenius().to("cpu"), RelativeFrobenius()
    assert metric(*one).tolist() == figures[:1]
    other.update(*two)
    metric.merge_state(other)
    assert sorted(metric.compute().tolist()) == sorted(figures)
    metric.reset()
    metric.update(*two)
    assert copy.deepcopy(metric).compute().tolist() == metric.compute().tolist() == figures[1:]


def test_numerical_rank_counts_against_the_precision_of_the_factors() -> None:
    left = torch.eye(5, 2, dtype=torch.float64)
    right = torch.diag(torch.tensor([1.0, 1e-9], dtype=torch.float64)) @ torch.eye(2, 4, dtype=torch.float64)
    metric = NumericalRank()
    metric.update(torch.ones(5, 4), left, right)
    metric.update(torch.ones(5, 4), left.float(), right.float())
    assert metric.compute().tolist() == [2, 1]


@pytest.mark.parametrize("kind", [Relative2Norm, RelativeFrobenius, NumericalRank])
def test_figures_of_several_processes_are_joined(kind: type[Metric]) -> None:
    assert kind()._reductions["figures"] is dim_zero_cat
