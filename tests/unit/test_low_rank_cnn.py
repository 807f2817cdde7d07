import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eckart.compression.counting import count
from eckart.nn.low_rank_cnn import LowRankCNN
from eckart.nn.low_rank_conv import LowRankConv2d


def expected_parameters(channels: list[int], blocks: list[int], rank: int, classes: int) -> int:
    """Both factors, normalizations and the linear layer, each written out."""
    total = max(1, rank // 2) * (25 + channels[0]) + 2 * channels[0]
    for before, after, residual in zip(channels[:-1], channels[1:], blocks, strict=True):
        total += rank * (3 * before + 3 * after) + 2 * after
        total += residual * (rank * (3 * after + 3 * after) + 2 * after)
    return total + classes * channels[-1] + classes


@pytest.mark.parametrize(
    ("channels", "blocks", "rank", "classes"),
    [([16, 32, 64], [1, 3], 15, 10), ([4, 6], [0], 1, 3), ([3, 4, 5, 6], [1, 0, 2], 2, 7)],
)
def test_layers_and_parameters(channels: list[int], blocks: list[int], rank: int, classes: int) -> None:
    net = LowRankCNN(channels, blocks, rank, classes)
    found = sum(parameter.numel() for parameter in net.parameters())
    assert found == expected_parameters(channels, blocks, rank, classes)
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, classes)
    assert not any(isinstance(module, nn.Conv2d) for module in net.modules())
    convs = [module for module in net.modules() if isinstance(module, LowRankConv2d)]
    assert [conv.rank for conv in convs] == [max(1, rank // 2), *[rank] * (len(convs) - 1)]


def test_it_is_a_residual_net_of_dense_convolutions() -> None:
    torch.manual_seed(0)
    net = LowRankCNN((3, 4, 5), (1, 2), rank=2, classes=3, mirrored=False).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                tensor.data.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    x = images = torch.rand(2, 1, 20, 20, dtype=torch.float64)
    for place, residual in enumerate([False, False, True, None, False, True, True]):
        layer: Any = net.features[place]
        if residual is None:
            x = nn.functional.max_pool2d(x, 2)
            continue
        dense, norm = layer.conv.to_conv(), layer.norm
        y = (dense(x) - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[:, None, None]
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
        x = (y + x if residual else y).clamp(min=0)
    np.testing.assert_allclose(net(images).detach(), net.logits(x.mean((2, 3))).detach(), atol=1e-12)


def test_a_mirror_image_has_the_same_logits_once_the_net_is_trained() -> None:
    torch.manual_seed(0)
    net, images = LowRankCNN(), torch.rand(3, 1, 28, 28)
    plain = LowRankCNN(mirrored=False)
    plain.load_state_dict(net.state_dict())
    net.train()(images)
    plain.train()(images)
    expected = (plain.eval()(images) + plain(images.flip(-1))) / 2
    assert torch.equal(net.eval()(images), expected)
    assert torch.allclose(net(images.flip(-1)), expected, atol=1e-6)
    assert not torch.allclose(plain(images), expected, atol=1e-4)
    batches = count(net, images[:1]).multiply_adds, count(plain, images[:1]).multiply_adds
    assert batches[0] == 2 * batches[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": (1,)}, "blocks must be one less than channels, 3. Found 1."),
        ({"channels": (16, 0, 64)}, "channels must be an integer of at least 1. Found 0."),
        ({"rank": None}, "rank must be an integer of at least 1. Found None."),
        ({"rank": 34}, "The rank must satisfy 1 <= rank <= min(m, n) = 16. Found 17."),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LowRankCNN(**options)
