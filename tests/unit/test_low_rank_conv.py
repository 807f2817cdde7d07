import itertools
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian
from torch import Tensor, nn

from eckart.nn.low_rank_conv import LowRankConv1d, LowRankConv2d, folded, unfolded

FORMS = [(0, 1), (1,), (0,), ()]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"stride": (2, 1), "padding": (1, 2)},
    {"dilation": (1, 2), "padding": "same"},
    {"groups": 2, "padding": 1, "padding_mode": "reflect"},
    {"padding": (2, 1), "padding_mode": "circular", "stride": 2},
    {"padding": 1, "padding_mode": "replicate", "dilation": 2, "bias": False},
    {"groups": 4, "padding": "valid"},
]


def conv2d(kernel: tuple[int, int] = (3, 2), **settings: Any) -> nn.Conv2d:
    layer = nn.Conv2d(4, 8, kernel, dtype=torch.float64, **settings)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = gaussian(*parameter.shape, seed=seed)
    return layer


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_at_full_rank_it_is_the_dense_convolution(settings: dict[str, Any]) -> None:
    dense, x = conv2d(**settings), gaussian(2, 4, 9, 8)
    for form in FORMS:
        full = min(unfolded(dense.weight, form, dense.groups).shape[-2:])
        layer = LowRankConv2d.from_conv(dense, full, form)
        np.testing.assert_allclose(layer(x).detach(), dense(x).detach(), atol=1e-10)
        np.testing.assert_allclose(layer.weight.detach(), dense.weight.detach(), atol=1e-12)
        np.testing.assert_allclose(layer.to_conv()(x).detach(), dense(x).detach(), atol=1e-10)
        assert repr(layer.to_conv()) == repr(dense)


@pytest.mark.parametrize(("form", "groups"), list(itertools.product(FORMS, [1, 2])))
def test_a_lower_rank_is_the_truncated_svd_of_each_group(form: tuple[int, ...], groups: int) -> None:
    dense, x = conv2d(groups=groups), gaussian(2, 4, 6, 6)
    layer = LowRankConv2d.from_conv(dense, 1, form)
    reference = conv2d(groups=groups)
    matrices = unfolded(dense.weight.detach(), form, groups).reshape(groups, *layer.left.shape[-2:-1], -1)
    cut = []
    for matrix in matrices.numpy():
        u, s, vh = scipy.linalg.svd(matrix, full_matrices=False)
        cut.append((u[:, :1] * s[:1]) @ vh[:1])
    stacked = torch.from_numpy(np.stack(cut)) if groups > 1 else torch.from_numpy(cut[0])
    reference.weight.data = folded(stacked, dense.weight.shape, form, groups)
    np.testing.assert_allclose(layer(x).detach(), reference(x).detach(), atol=1e-10)


def test_the_matrices_are_those_of_the_literature() -> None:
    weight = gaussian(3, 2, 4, 5)
    assert torch.equal(unfolded(weight, (0, 1)), weight.flatten(1))
    # kh·out × in·kw.
    assert torch.equal(unfolded(weight, (1,)), weight.permute(0, 2, 1, 3).reshape(12, 10))


@pytest.mark.parametrize("form", [(0,), ()])
def test_one_dimension(form: tuple[int, ...]) -> None:
    dense = nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, dtype=torch.float64)
    layer = LowRankConv1d.from_conv(dense, min(unfolded(dense.weight, form, 2).shape[-2:]), form)
    x = gaussian(3, 4, 11)
    np.testing.assert_allclose(layer(x).detach(), dense(x).detach(), atol=1e-12)
    assert layer.left.shape[0] == 2


def test_parameters_and_gradients() -> None:
    layer = LowRankConv2d(4, 6, (3, 2), rank=2, first=(1,), dtype=torch.float64)
    assert (layer.left.shape, layer.right.shape) == ((18, 2), (2, 8))
    assert torch.autograd.gradcheck(layer, (gaussian(1, 4, 4, 4).requires_grad_(),))
    layer(gaussian(1, 4, 4, 4)).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in layer.parameters())


def test_outputs_start_with_the_variance_of_a_dense_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 16, 12, 12)
    ours = np.mean([LowRankConv2d(16, 32, 3, rank=8, bias=False)(x).var().item() for _ in range(5)])
    assert ours == pytest.approx(nn.Conv2d(16, 32, 3, bias=False)(x).var().item(), rel=0.2)


@pytest.mark.parametrize("rank", [0, 9])
def test_impossible_rank_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=rf"^The rank must satisfy 1 <= rank <= min\(m, n\) = 8\. Found {rank}\.$"):
        LowRankConv2d(4, 8, 3, rank)


def test_it_reads_like_a_convolution() -> None:
    layer = LowRankConv2d(4, 8, (3, 5), 2, first=(1,), stride=2, padding=1, groups=2, bias=False)
    assert repr(layer) == (
        "LowRankConv2d(4, 8, kernel_size=(3, 5), rank=2, first=w, stride=(2, 2), padding=(1, 1), groups=2, bias=False)"
    )


def test_the_weight_is_differentiable() -> None:
    layer = LowRankConv2d(2, 2, 2, rank=1)
    weight: Tensor = layer.weight
    weight.sum().backward()
    assert layer.left.grad is not None
