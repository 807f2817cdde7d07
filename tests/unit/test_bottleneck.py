import numpy as np
import pytest
import torch
from matrices import gaussian

from eckart.nn.bottleneck import Bottleneck


def net(widths: list[int], bottleneck: int, stack: int = 3) -> Bottleneck:
    made = Bottleneck(widths, bottleneck=bottleneck, stack=stack, dtype=torch.float64)
    for place, weight in enumerate(made.weights):
        weight.data = gaussian(*weight.shape, seed=place)
    return made


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
