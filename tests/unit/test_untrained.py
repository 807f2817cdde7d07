from typing import Any

import pytest
import torch
from torch import nn

from eckart.nn.low_rank_conv import LowRankConv2d
from eckart.nn.low_rank_linear import LowRankLinear
from eckart.nn.untrained import untrained


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 20, 3, stride=2, padding=1),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 24, (3, 1), bias=False),
        nn.Flatten(),
        nn.Linear(24 * 2 * 4, 17),
        nn.LayerNorm(17),
        nn.Linear(17, 10),
    )


def test_large_layers_have_low_rank_and_everything_else_is_drawn() -> None:
    asked = []

    def rank(path: str, m: int, n: int) -> int:
        asked.append((path, m, n))
        return 2

    net: Any = untrained(convolutions, rank)
    assert asked == [("0", 20, 27), ("3", 24, 60), ("5", 17, 192)]
    assert [type(net[place]) for place in (0, 3, 5, 7)] == [LowRankConv2d, LowRankConv2d, LowRankLinear, nn.Linear]
    assert net[0].bias is not None and net[3].bias is None and net[0].stride == (2, 2)
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    assert not any(tensor.is_meta for tensor in tensors.values())
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert torch.equal(net[1].running_var, torch.ones(20)) and torch.equal(net[6].weight, torch.ones(17))
    dense = convolutions()
    x = torch.randn(2, 3, 8, 8)
    assert net(x).shape == dense(x).shape
    # Drawn as torch draws it.
    assert 0 < float(net[7].weight.detach().abs().max()) <= 17**-0.5


def test_a_rank_saves_weights() -> None:
    layer = untrained(lambda: nn.Linear(40, 30), lambda *_: 99)
    assert isinstance(layer, LowRankLinear) and layer.rank == 17
    assert untrained(lambda: nn.Linear(40, 30), lambda *_: 0).rank == 1


def test_layers_that_share_a_weight_or_compute_by_themselves_stay_dense() -> None:
    class Own(nn.Linear):
        pass

    def make() -> nn.Module:
        tied = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), Own(20, 20), nn.Conv2d(32, 32, 3, groups=2))
        tied[1].weight = tied[0].weight
        return tied

    net: Any = untrained(make, lambda *_: 2)
    assert [type(layer) for layer in net] == [nn.Linear, nn.Linear, Own, nn.Conv2d]
    assert net[1].weight is net[0].weight and net[1].bias is not net[0].bias


def test_parameters_that_cannot_be_drawn_are_refused() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))

    message = r"^A model that is trained from the start must draw .* Found Token without it at 1\.$"
    with pytest.raises(ValueError, match=message):
        untrained(lambda: nn.Sequential(nn.Linear(20, 20), Token()), lambda *_: 2)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^The model must be a torch\.nn\.Module\. Found list\.$"):
        untrained(list, lambda *_: 2)  # type: ignore[arg-type]
