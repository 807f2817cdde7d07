import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eckart.nn.low_rank_linear import LowRankLinear
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.scaled_metric import ScaledMetric, factor_pairs


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(LowRankLinear(6, 5, rank=3), nn.Tanh(), nn.Linear(5, 4)).double()


def regauged(model: nn.Sequential) -> nn.Sequential:
    other = copy.deepcopy(model)
    change = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 2 * torch.eye(3)
    layer: Any = other[0]
    with torch.no_grad():
        layer.left.copy_(layer.left @ change)
        layer.right.copy_(torch.linalg.solve(change, layer.right))
    return other


def trained(model: nn.Sequential, make: Callable[..., torch.optim.Optimizer], damping: float | None) -> Tensor:
    inputs = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    optimizer = make(model.parameters())
    metric = None if damping is None else ScaledMetric(model, damping)
    for _ in range(4):
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()
    if metric is not None:
        metric.remove()
    return model(inputs).detach()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_do_not_depend_on_the_factors_of_the_product(momentum: float) -> None:
    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.003, momentum=momentum)

    model, other = net(), regauged(net())
    start = torch.ones(2, 6, dtype=torch.float64)
    torch.testing.assert_close(model(start), other(start))
    ours, theirs = (trained(item, sgd, 0.0) for item in (model, other))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    plain, changed = (trained(item, sgd, None) for item in (net(), regauged(net())))
    assert (plain - changed).abs().max() > 1e-3


def test_sgd_in_the_metric_is_scaled_gd() -> None:
    models = [nn.Sequential(LowRankLinear(6, 5, rank=3, bias=False)).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = trained(models[0], lambda parameters: torch.optim.SGD(parameters, lr=0.01), 1e-4)
    theirs = trained(models[1], lambda parameters: ScaledGD(parameters, lr=0.01, damping=1e-4), None)
    torch.testing.assert_close(ours, theirs)


def test_it_is_linear_so_gradients_can_be_accumulated_and_clipped() -> None:
    inputs = torch.randn(8, 6, dtype=torch.float64)
    whole, parts = net(), net()
    with ScaledMetric(whole), ScaledMetric(parts):
        whole(inputs).square().sum().backward()
        for part in inputs.split(3):
            parts(part).square().sum().backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_closure_is_scaled_too() -> None:
    # Lightning's automatic optimization computes the gradients inside of the optimizer's step.
    inputs = torch.ones(3, 6, dtype=torch.float64)
    models = net(), net()
    for model, closed in zip(models, (False, True), strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

        def closure(model: nn.Sequential = model, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = model(inputs).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with ScaledMetric(model):
            if closed:
                optimizer.step(closure)  # type: ignore[arg-type]
            else:
                closure()
                optimizer.step()
    torch.testing.assert_close(models[0](inputs), models[1](inputs))


def test_only_factors_change_and_only_inside() -> None:
    inputs = torch.ones(3, 6, dtype=torch.float64)
    models = [net() for _ in range(3)]
    with ScaledMetric(models[0]):
        models[0](inputs).square().sum().backward()
        copied = copy.deepcopy(models[0])
        copied.zero_grad()
        copied(inputs).square().sum().backward()
    metric = ScaledMetric(models[1])
    metric.remove()
    for model in models[1:]:
        model(inputs).square().sum().backward()
    gradients = [dict(model.named_parameters()) for model in (*models, copied)]
    for name, plain in gradients[2].items():
        torch.testing.assert_close(gradients[1][name].grad, plain.grad)
        torch.testing.assert_close(gradients[3][name].grad, plain.grad)
        same = torch.allclose(gradients[0][name].grad, plain.grad)  # type: ignore[arg-type]
        assert same == (name not in ("0.left", "0.right"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_precision(dtype: torch.dtype) -> None:
    layer = LowRankLinear(6, 5, rank=3, dtype=dtype)
    with ScaledMetric(layer):
        layer(torch.ones(2, 6, dtype=dtype)).sum().backward()
    assert layer.left.grad is not None and layer.left.grad.dtype == dtype and bool(layer.left.grad.isfinite().all())


def test_pairs_of_groups_and_tied_layers_are_found_once() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(2, 5, 3)), nn.Parameter(torch.ones(2, 3, 4))

    first, tied = LowRankLinear(4, 4, rank=2), LowRankLinear(4, 4, rank=2)
    tied.left, tied.right = first.left, first.right
    assert list(factor_pairs(nn.ModuleList([Grouped(), first, tied]))) == ["0", "1"]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"must have a factor pair to train.*Found none"):
        ScaledMetric(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"must not be negative\. Found -1"):
        ScaledMetric(LowRankLinear(3, 3, rank=1), damping=-1)
    frozen = LowRankLinear(3, 3, rank=1).requires_grad_(False)
    with pytest.raises(ValueError, match="must have a factor pair"):
        ScaledMetric(frozen)
