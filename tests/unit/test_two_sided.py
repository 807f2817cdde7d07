import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor, nn

from eckart.compression.moments import Moments
from eckart.compression.two_sided import two_sided
from eckart.linalg.svd import singular_values
from eckart.nn.low_rank_conv import LowRankConv2d, unfolded

FORMS = [(1,), (0,), ()]


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    """Images whose neighboring pixels are alike."""
    return gaussian(3, 3, 9, 8).cumsum(-1).cumsum(-2).to(dtype)


def layer_of(conv: nn.Conv2d, form: tuple[int, ...], pair: tuple[Tensor, Tensor]) -> LowRankConv2d:
    layer = LowRankConv2d.like(conv, pair[0].shape[1], form)
    layer.left.data, layer.right.data = pair
    return layer  # type: ignore[no-any-return]


@pytest.mark.parametrize("form", FORMS)
def test_losses_are_those_of_the_layers_on_the_inputs(form: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv, x, moments = nn.Conv2d(3, 5, (3, 2), padding=1, bias=False, dtype=torch.float64), images(), Moments()
    moments.add(conv, x)
    metric = gaussian(5, 5, seed=4)
    plain = two_sided(conv.weight, form, moments.second())
    weighted = two_sided(conv.weight, form, moments.second(), metric @ metric.T)
    for found, shape in ((plain, torch.eye(5, dtype=torch.float64)), (weighted, metric.T)):
        energy = float(found.losses[0])
        for rank in range(1, len(found.losses)):
            errors = (conv(x) - layer_of(conv, form, found.factors(rank))(x)).detach().movedim(1, -1) @ shape.T
            assert float((errors**2).sum(-1).mean()) == pytest.approx(float(found.losses[rank]), abs=1e-11 * energy)
    assert float(plain.losses[-1]) < 1e-11 * float(plain.losses[0])
    # The plain SVD of the same matrix, which knows nothing of the inputs, loses more.
    blind = LowRankConv2d.from_conv(conv, 1, form)
    assert float((conv(x) - blind(x)).detach().square().sum(1).mean()) > float(plain.losses[1])


@pytest.mark.parametrize("form", FORMS)
def test_the_second_convolution_is_the_regression_on_the_first(form: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv, x, moments = nn.Conv2d(3, 5, (3, 2), bias=False, dtype=torch.float64), images(), Moments()
    moments.add(conv, x)
    layer = layer_of(conv, form, two_sided(conv.weight, form, moments.second()).factors(2))
    (layer(x) - conv(x).detach()).square().sum().backward()
    assert layer.left.grad is not None
    np.testing.assert_allclose(layer.left.grad, 0, atol=1e-6 * float(conv(x).norm()))


def test_for_white_inputs_it_is_the_truncated_svd() -> None:
    weight = gaussian(4, 3, 3, 2)
    losses = two_sided(weight, (1,), torch.eye(18, dtype=torch.float64)).losses
    squares = singular_values(unfolded(weight, (1,))).square()
    np.testing.assert_allclose(losses, [squares[k:].sum() for k in range(7)], atol=1e-10)


def test_inputs_of_few_dimensions() -> None:
    basis = gaussian(18, 2)
    found = two_sided(gaussian(4, 3, 3, 2), (1,), basis @ basis.T)
    assert float(found.losses[-1]) < 1e-9 * float(found.losses[0])
    assert all(bool(torch.isfinite(factor).all()) for factor in found.factors(len(found.losses) - 1))
