"""Budgets of a model: what is within them, what is told, and which ranks are too slow to be taken."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eckart.compression import costs
from eckart.compression.budgeting import spend
from eckart.compression.candidate import Candidate
from eckart.compression.costs import Parameters, Seconds
from eckart.compression.counting import count_parameters
from eckart.compression.factorize import factorize
from eckart.compression.layers import find
from eckart.compression.moments import gather, plain_forward
from eckart.compression.speed import Speed
from eckart.compression.timing import Comparison
from eckart.nn.low_rank_linear import LowRankLinear


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 4))


def as_slow_as(rank: Callable[[LowRankLinear], float]) -> Callable[[nn.Module, nn.Module, object], Comparison]:
    """A machine on which a layer of low rank takes so much of the dense layer's time."""

    def compare(dense: nn.Module, low: nn.Module, _: object) -> Comparison:
        assert isinstance(dense, nn.Linear) and isinstance(low, LowRankLinear)
        ratio = rank(low)
        return Comparison(1.0, ratio, ratio, ratio, ratio)

    return compare


def speed(model: nn.Module, ratio: Callable[[LowRankLinear], float]) -> Speed:
    layers = find(model).layers
    return Speed(model, layers, torch.ones(2, 12), plain_forward, compare=as_slow_as(ratio))


X = torch.randn(50, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["measured", "second_order", "relative", None])
def test_the_budget_is_kept(kind: str | None) -> None:
    dense = net()
    for share in (0.4, 0.7):
        found = factorize(dense, share, [X], sensitivity=kind, keep_slower=True)
        assert found.parameters == count_parameters(found.model) <= share * count_parameters(dense)


def test_the_loss_decides_and_not_the_error_of_a_layer() -> None:
    # Most of the output of the second layer is nothing that the third one reads.
    dense = net()
    with torch.no_grad():
        dense.get_parameter("2.weight")[1:] *= 3
        dense.get_parameter("4.weight")[:, 1:] = 0
    said = {}
    for kind in ("relative", "second_order", "measured"):
        found = factorize(dense, 0.6, [X], sensitivity=kind, keep_slower=True)
        before, after = (model(X).detach().log_softmax(-1) for model in (dense, found.model))
        said[kind] = float((before.exp() * (before - after)).sum(-1).mean())
    assert said["second_order"] < 0.1 * said["relative"]
    assert said["measured"] < 0.1 * said["relative"]


def test_outputs_that_are_no_logits_are_held_relative() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, self.net(x)

    found = factorize(Pair(), 0.6, [X], keep_slower=True)
    assert any("relative" in layer.why for layer in found.layers)
    with pytest.raises(ValueError, match=r"^The model must give logits.*Found tuple\.$"):
        factorize(Pair(), 0.6, [X], sensitivity="measured")


def candidates(model: nn.Module) -> list[Candidate]:
    layers = find(model).layers
    moments, _ = gather(model, layers, [X])
    return [Candidate(layer, moments) for layer in layers]


def spent(model: nn.Module, budget: float, timed: Speed | None) -> dict[str, tuple[int | None, str]]:
    known = candidates(model)
    losses = [[option.loss / candidate.energy for option in candidate.options] for candidate in known]
    chosen = spend(known, losses, Parameters(model), budget, "loss", timed)
    return {c.layer.path: (option.rank, why) for c, (option, why) in zip(known, chosen, strict=True)}


def test_a_layer_that_would_be_slower_stays_dense() -> None:
    model = net()
    free = spent(model, 0.75, None)
    assert free["2"][0] is not None and free["0"][0] is None
    found = spent(model, 0.75, speed(model, lambda low: 1.5 if low.in_features == 20 else 0.5))
    assert found["2"] == (None, "dense: rank 1 takes 1.50 times the dense layer's time at batch 1")
    assert found["0"][0] is not None


def test_a_rank_that_is_faster_is_taken_below_one_that_is_not() -> None:
    model = net()
    free = spent(model, 0.75, None)["2"][0]
    assert free is not None and free > 3
    found = spent(model, 0.75, speed(model, lambda low: 0.5 if low.rank <= 3 else 1.2))
    assert found["2"][0] == 3
    assert (
        "the largest that is faster (rank 4 takes 1.20 times" in found["2"][1] and "keep_slower=true" in found["2"][1]
    )


def test_what_the_budget_needs_is_kept_and_said() -> None:
    model = net()
    found = spent(model, 0.4, speed(model, lambda low: 2.0))
    ranks = {path: rank for path, (rank, _) in found.items()}
    assert any(ranks.values())
    told = [why for rank, why in found.values() if rank is not None]
    assert all(
        "although rank" in why and "times the dense layer's time at batch 1: the budget needs it" in why for why in told
    )


def test_equal_layers_are_measured_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(12, 12) for _ in range(5)))
    asked = []
    timed = speed(model, lambda low: asked.append(low.rank) or (0.5 if low.rank <= 4 else 1.2))  # type: ignore[func-returns-value]
    layers = find(model).layers
    assert [timed.faster(layer, 5) for layer in layers] == [False] * 5 and asked == [5]
    assert [timed.limit(layer, 5) for layer in layers] == [4] * 5
    assert [timed.faster(layer, rank) for layer in layers for rank in (3, 4, 5, 6)] == [True, True, False, False] * 5
    assert len(asked) < 6


def test_a_budget_of_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the time that layers are said to take: 1 ms and 20 µs a rank, 5 ms dense, of 18 ms in all."""
    low = [1e-3 + 2e-5 * rank for rank in range(21)]
    monkeypatch.setattr(costs, "seconds", lambda functions, typical: [18e-3])
    monkeypatch.setattr(costs, "rank_seconds", lambda dense, build, ranks, args: ([low[k] for k in ranks], 5e-3))
    model = net()
    known = candidates(model)
    found = Seconds(model, [candidate.layer for candidate in known], X, plain_forward)
    for candidate in known:
        expected = [5 / 18 if o.rank is None else (1 + 0.02 * o.rank) / 18 for o in candidate.options]
        assert found.options(candidate) == pytest.approx(expected)
    losses = [[option.loss for option in candidate.options] for candidate in known]
    # The rest of the model takes 3 ms, the least ranks 1.02 ms each.
    with pytest.raises(ValueError, match=r"^The budget must be at least 0\.3367 of the latency.* Found 0\.1\.$"):
        spend(known, losses, found, 0.1, "loss")
    ranks = [option.rank for option, _ in spend(known, losses, found, 0.6, "loss")]
    assert any(rank is None for rank in ranks) or any(ranks)


class Attending(nn.Module):
    """Attention, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(12, 2, batch_first=True), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x)[0].mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("budget", "attends"), [(0.87, False), (0.6, True)])
def test_attention_stays_as_it_was_where_the_model_would_be_slower(
    monkeypatch: pytest.MonkeyPatch, budget: float, attends: bool
) -> None:
    same, slow = Comparison(1.0, 0.5, 0.5, 0.5, 0.5), Comparison(1.0, 2.0, 2.0, 2.0, 2.0)
    monkeypatch.setattr(Speed, "faster", lambda *_: True)
    model, x = Attending(), torch.randn(9, 5, 12)
    measured = []

    def measure(dense: nn.Module, low: Attending, *_: object, **__: object) -> tuple[dict[str, object], object]:
        assert dense is model
        measured.append(low)
        opened = not isinstance(low.attention.out_proj, nn.Linear) or type(low.attention) is not nn.MultiheadAttention
        return {}, {1: same, 256: slow if opened else same}

    monkeypatch.setattr("eckart.compression.factorize.measure", measure)
    found = factorize(model, budget, [x], sensitivity="relative")
    assert len(measured) == 1
    assert (type(found.model.attention) is not nn.MultiheadAttention) == attends
    told = [layer.why for layer in found.layers if layer.rank is not None and layer.path.startswith("attention")]
    assert all("slower than with torch's own attention: the budget needs it" in why for why in told)
    assert bool(told) == attends
