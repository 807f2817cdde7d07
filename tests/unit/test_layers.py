import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eckart.nn.bottleneck import Bottleneck
from eckart.nn.low_rank_linear import LowRankLinear
from eckart.nn.mlp import MLP

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 99))


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(inputs: int, outputs: int, bias: bool = True, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data = gaussian(*parameter.shape, seed=seed)
    return layer


def net(widths: list[int], bottleneck: int, stack: int = 3) -> Bottleneck:
    made = Bottleneck(widths, bottleneck=bottleneck, stack=stack, dtype=torch.float64)
    for place, weight in enumerate(made.weights):
        weight.data = gaussian(*weight.shape, seed=place)
    return made


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


NETS = [([4, 2, 3], 1), ([4, 4, 2, 3], 2), ([4, 6, 2, 5, 3], 2), ([8, 6, 4, 2, 4, 7], 3), ([5, 5, 5, 5], 2)]


@pytest.mark.parametrize(("widths", "bottleneck"), NETS)
def test_factors_multiply_to_what_the_net_does(widths: list[int], bottleneck: int) -> None:
    made = net(widths, bottleneck)
    left, right = made.factors()
    assert left.shape == (3, widths[-1], widths[bottleneck])
    assert right.shape == (3, widths[bottleneck], widths[0])
    images = made(torch.eye(widths[0], dtype=torch.float64).expand(3, -1, -1))
    np.testing.assert_allclose((left @ right).detach(), images.mT.detach(), atol=1e-12 * float(images.abs().max()))
    for member in range(3):
        product = np.eye(widths[0])
        for weight in made.weights:
            product = weight[member].detach().numpy() @ product
        np.testing.assert_allclose((left @ right)[member].detach(), product, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("widths", "bottleneck"), NETS)
def test_assign_makes_the_net_stand_for_the_factors(widths: list[int], bottleneck: int) -> None:
    made = net(widths, bottleneck)
    middle = [weight.detach().clone() for weight in list(made.weights)[1:-1]]
    left, right = (
        gaussian(3, widths[-1], widths[bottleneck], seed=50),
        gaussian(3, widths[bottleneck], widths[0], seed=51),
    )
    made.assign(left, right)
    found_left, found_right = made.factors()
    scale = float((left @ right).abs().max())
    np.testing.assert_allclose((found_left @ found_right).detach(), left @ right, atol=1e-12 * scale)
    np.testing.assert_allclose(found_left.detach(), left, atol=1e-12 * scale)
    np.testing.assert_allclose(found_right.detach(), right, atol=1e-12 * scale)
    for before, weight in zip(middle, list(made.weights)[1:-1], strict=True):
        assert torch.equal(before, weight)


def test_assign_moves_the_first_layer_as_little_as_possible() -> None:
    made = net([4, 6, 2, 3], 2, stack=1)
    first, second = (weight.detach()[0].numpy().copy() for weight in list(made.weights)[:2])
    right = gaussian(1, 2, 4, seed=9)
    made.assign(gaussian(1, 3, 2, seed=8), right)
    move = np.linalg.lstsq(second, right[0].numpy() - second @ first, rcond=None)[0]
    np.testing.assert_allclose(made.weights[0].detach()[0], first + move, atol=1e-12)


def test_assign_keeps_a_padded_member_padded() -> None:
    made = net([5, 5, 3, 4], 2, stack=2)
    for weight in made.weights:
        weight.data[1] = 0
    made.weights[0].data[1] = gaussian(5, 5)
    made.weights[1].data[1, :1] = gaussian(1, 5)
    made.weights[2].data[1, :, :1] = gaussian(4, 1)
    left, right = gaussian(2, 4, 3, seed=1), gaussian(2, 3, 5, seed=2)
    left[1, :, 1:], right[1, 1:] = 0, 0
    made.assign(left, right)
    for found, wanted in zip(made.factors(), (left, right), strict=True):
        np.testing.assert_allclose(found.detach(), wanted, atol=1e-12)


@pytest.mark.parametrize("widths", [[3, 2], [5, 7, 4], [6, 5, 4, 3]])
def test_mlp_is_the_sigmoid_net_written_by_hand(widths: list[int]) -> None:
    made = MLP(widths).double()
    assert sum(p.numel() for p in made.parameters()) == sum(a * b + b for a, b in itertools.pairwise(widths))
    x = gaussian(8, widths[0]).numpy()
    expected = x
    layers = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in made.layers]  # type: ignore[operator, union-attr]
    for place, (weight, bias) in enumerate(layers):
        expected = expected @ weight.T + bias
        if place < len(layers) - 1:
            expected = np.vectorize(lambda t: 1 / (1 + math.exp(-t)))(expected)
    np.testing.assert_allclose(made(torch.from_numpy(x)).detach(), expected, atol=1e-12)
