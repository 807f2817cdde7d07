from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor, nn

from eckart.compression.layers import find
from eckart.compression.moments import Moments, gather, inputs_of


def moments_of(module: nn.Module, *batches: Tensor) -> Moments:
    moments = Moments()
    for batch in batches:
        moments.add(module, batch)
    return moments


def test_moments_are_those_of_all_inputs_together() -> None:
    x = gaussian(50, 3, 4) @ gaussian(4, 4, seed=1) + torch.tensor([1e4, 0.0, -3.0, 1.0])
    found = moments_of(nn.Linear(4, 2), *x.split(7), x[:0])
    rows = x.reshape(-1, 4).numpy()
    assert found.rows == 150
    np.testing.assert_allclose(found.mean(), rows.mean(0))
    np.testing.assert_allclose(found.second(), rows.T @ rows / 150)
    # A mean that is 1e4 deviations large leaves ten digits of the variance.
    np.testing.assert_allclose(found.covariance(), np.cov(rows.T, bias=True), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1, "groups": 2},
        {"dilation": 2, "padding": "same", "padding_mode": "circular"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d])
def test_patches_times_the_weight_are_the_convolution(kind: Any, settings: dict[str, Any]) -> None:
    conv = kind(4, 6, 3, dtype=torch.float64, bias=False, **settings)
    x = gaussian(2, 4, *([8] if kind is nn.Conv1d else [8, 7]))
    rows = torch.cat(list(inputs_of(conv, x)), dim=-2).reshape(conv.groups, -1, conv.weight[0].numel())
    outputs = rows @ conv.weight.detach().reshape(conv.groups, -1, rows.shape[-1]).mT
    expected = conv(x).detach().movedim(1, -1).reshape(-1, conv.groups, 6 // conv.groups).movedim(1, 0)
    np.testing.assert_allclose(outputs, expected, atol=1e-12)
    found = moments_of(conv, x[:1], x[1:])
    moment = (rows.mT @ rows / rows.shape[1]).squeeze(0) if conv.groups == 1 else rows.mT @ rows / rows.shape[1]
    np.testing.assert_allclose(found.second(), moment, atol=1e-12)


def test_tokens_are_counted() -> None:
    found = moments_of(nn.Embedding(4, 2), torch.tensor([[0, 0], [3, 1]]), torch.tensor([3]))
    np.testing.assert_allclose(found.mean(), [0.4, 0.2, 0.0, 0.4])


class Twice(nn.Module):
    """A layer that is called twice in a pass, and one that is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.idle, self.drop = nn.Linear(3, 3), nn.Linear(3, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(torch.relu(self.shared(self.drop(x))))  # type: ignore[no-any-return]


def test_every_call_counts_in_evaluation_mode_which_is_restored() -> None:
    net, x = Twice(), torch.ones(5, 3)
    net.drop.eval()
    modes = [module.training for module in net.modules()]
    moments, first = gather(net, find(net, "shared").layers, [(x, "labels"), x])
    assert [module.training for module in net.modules()] == modes
    assert moments["shared"].rows == 20
    expected = (torch.ones(3) + torch.relu(net.shared(torch.ones(3)))).detach().double() / 2
    np.testing.assert_allclose(moments["shared"].mean(), expected, atol=1e-7)
    assert first[1] == "labels"
    assert not net.shared._forward_pre_hooks


def test_bad_inputs_are_refused() -> None:
    net = Twice()
    layers = find(net, "shared").layers
    with pytest.raises(ValueError, match=r"^inputs must give at least one batch\. Found none\.$"):
        gather(net, layers, [])
    with pytest.raises(
        ValueError, match=r"^Inputs must be finite\. Found NaN or infinity in batch 1, at layer 'shared'"
    ):
        gather(net, layers, [torch.ones(2, 3), torch.tensor([[1.0, torch.nan, 1.0]])])
    law = r"^Inputs must reach every layer that is to be factorized, or exclude= must name it\. Found no input at 'id"
    with pytest.raises(ValueError, match=law):
        gather(net, find(net).layers, [torch.ones(2, 3)])
    assert not net.shared._forward_pre_hooks
