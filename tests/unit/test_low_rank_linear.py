from pathlib import Path

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian
from torch import nn

from eckart.nn.low_rank_linear import LowRankLinear

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 99))


def linear(inputs: int, outputs: int, bias: bool = True, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data = gaussian(*parameter.shape, seed=seed)
    return layer


@settings(max_examples=30, deadline=None)
@given(SIZES, st.data())
def test_from_linear_is_the_truncated_svd(sizes: tuple[int, int, bool, int], data: st.DataObject) -> None:
    inputs, outputs, bias, seed = sizes
    rank = data.draw(st.integers(1, min(inputs, outputs)))
    dense = linear(inputs, outputs, bias, seed)
    layer = LowRankLinear.from_linear(dense, rank)
    u, s, vh = scipy.linalg.svd(dense.weight.detach().numpy(), full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vh[:rank]
    np.testing.assert_allclose((layer.left @ layer.right).detach(), best, atol=1e-10)
    x = gaussian(4, inputs, seed=seed)
    offset = dense.bias.detach().numpy() if bias else 0.0
    np.testing.assert_allclose(layer(x).detach(), x.numpy() @ best.T + offset, atol=1e-9)
    # Split evenly: both factors have the same singular values, the square roots.
    for factor in (layer.left, layer.right):
        np.testing.assert_allclose(scipy.linalg.svdvals(factor.detach().numpy()), np.sqrt(s[:rank]), atol=1e-7)


def test_from_linear_does_not_share_memory_with_it() -> None:
    dense = linear(4, 3)
    layer = LowRankLinear.from_linear(dense, 3)
    before = dense.weight.clone(), dense.bias.clone()
    for parameter in layer.parameters():
        parameter.data.zero_()
    assert torch.equal(dense.weight, before[0])
    assert torch.equal(dense.bias, before[1])


@settings(max_examples=20, deadline=None)
@given(SIZES, st.data())
def test_to_linear_has_the_same_outputs(sizes: tuple[int, int, bool, int], data: st.DataObject) -> None:
    inputs, outputs, bias, seed = sizes
    rank = data.draw(st.integers(1, min(inputs, outputs)))
    layer = LowRankLinear(inputs, outputs, rank, bias, dtype=torch.float64)
    dense = layer.to_linear()
    assert type(dense) is nn.Linear
    assert (dense.bias is not None) == bias
    x = gaussian(2, 5, inputs, seed=seed)
    np.testing.assert_allclose(dense(x).detach(), layer(x).detach(), atol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "outputs", "rank", "bias"), [(10, 10, 2, False), (784, 500, 16, True), (3, 1, 1, True)]
)
def test_parameters_are_rank_times_both_sides(inputs: int, outputs: int, rank: int, bias: bool) -> None:
    layer = LowRankLinear(inputs, outputs, rank, bias)
    assert sum(parameter.numel() for parameter in layer.parameters()) == rank * (inputs + outputs) + bias * outputs


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_impossible_rank_is_refused(rank: int) -> None:
    match = rf"^The rank must satisfy 1 <= rank <= min\(m, n\) = 3\. Found {rank}\.$"
    with pytest.raises(ValueError, match=match):
        LowRankLinear(3, 5, rank)
    with pytest.raises(ValueError, match=match):
        LowRankLinear.from_linear(linear(5, 3), rank)


def test_gradient_flows_to_every_weight() -> None:
    layer = LowRankLinear(4, 3, 2, dtype=torch.float64)
    x = gaussian(5, 4)
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))
    layer(x).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).any()


def test_layer_reads_like_a_linear_layer() -> None:
    layer = LowRankLinear(10, 5, 2, bias=False)
    assert repr(layer) == "LowRankLinear(in_features=10, out_features=5, rank=2, bias=False)"


@pytest.mark.parametrize("bias", [True, False])
def test_state_round_trip(bias: bool, tmp_path: Path) -> None:
    layer, other = (LowRankLinear(6, 4, 3, bias) for _ in range(2))
    assert set(layer.state_dict()) == {"left", "right"} | ({"bias"} if bias else set())
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    x = torch.ones(2, 6)
    assert torch.equal(other(x), layer(x))


def test_outputs_start_with_the_variance_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 300)
    ours = np.mean([LowRankLinear(300, 200, 20, bias=False)(x).var().item() for _ in range(5)])
    assert ours == pytest.approx(nn.Linear(300, 200, bias=False)(x).var().item(), rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_is_kept(dtype: torch.dtype) -> None:
    layer = LowRankLinear(4, 3, 2, dtype=dtype)
    assert layer(torch.ones(1, 4, dtype=dtype)).dtype == dtype
    assert layer.to_linear().weight.dtype == dtype
    assert LowRankLinear.from_linear(nn.Linear(4, 3, dtype=dtype), 2).left.dtype == dtype
