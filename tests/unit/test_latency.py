"""Measured time: what is decided by it, with a clock that the test moves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eckart.compression.latency import compare_modules, examples, feasible, rank_seconds, resized
from eckart.compression.timing import compare, seconds


class Clock:
    """A machine whose clock moves as computations say, and jumps where it is busy with something else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.draw = torch.Generator().manual_seed(0)
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def computation(self, taken: float, noise: float = 0.0) -> Callable[[], None]:
        def run() -> None:
            interrupted = float(torch.rand((), generator=self.draw)) < noise / 2
            self.now += taken * (1 + noise * float(torch.rand((), generator=self.draw))) + 0.05 * interrupted

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_times_are_those_of_a_call(clock: Clock) -> None:
    assert seconds([clock.computation(1e-5), clock.computation(2.0)]) == pytest.approx([1e-5, 2.0])
    found = compare(clock.computation(3e-4), clock.computation(1e-4))
    assert (found.first, found.second, found.ratio) == pytest.approx((3e-4, 1e-4, 1 / 3))
    assert found.faster and not found.slower


@pytest.mark.parametrize(("second", "faster", "slower"), [(0.9e-4, True, False), (1.1e-4, False, True)])
def test_noise_does_not_flip_what_is_clear(clock: Clock, second: float, faster: bool, slower: bool) -> None:
    for _ in range(5):
        found = compare(clock.computation(1e-4, noise=0.02), clock.computation(second, noise=0.02))
        assert (found.faster, found.slower) == (faster, slower)


def test_what_is_equal_is_neither(clock: Clock) -> None:
    said = []
    for _ in range(50):
        found = compare(clock.computation(1e-2, noise=0.05), clock.computation(1e-2, noise=0.05))
        assert found.low <= found.ratio <= found.high
        said.append(found.faster or found.slower)
    # Four looks at an interval of 99 %.
    assert sum(said) <= 5


def test_a_machine_that_slows_down_leaves_the_ratio_alone(clock: Clock) -> None:
    def slowed(taken: float) -> Callable[[], None]:
        def run() -> None:
            clock.now += taken * (10 if clock.now > 1 else 1)

        return run

    assert compare(slowed(0.05), slowed(0.04)).ratio == pytest.approx(0.8)


def test_long_calls_are_not_repeated(clock: Clock) -> None:
    calls = []

    def run() -> None:
        calls.append(1)
        clock.now += 1

    seconds([run], rounds=2)
    assert len(calls) == 4


class Scaled(nn.Module):
    """Two layers, of which the second sees a shape that the inputs do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear, self.unused = nn.Embedding(9, 4), nn.Linear(4, 3), nn.Linear(1, 1)

    def forward(self, tokens: Tensor, scale: Tensor) -> Tensor:
        return self.linear(self.embedding(tokens)) * scale


def test_examples_are_what_the_layers_get() -> None:
    model = Scaled().train()
    tokens = torch.tensor([[1, 8, 3]])
    inputs = resized({"tokens": tokens, "scale": torch.ones(1, 1, 1)}, 4)
    found = examples(model, dict(model.named_children()), inputs)
    assert found.keys() == {"embedding", "linear"}
    assert torch.equal(found["embedding"][0], tokens.expand(4, 3))
    assert torch.equal(found["linear"][0], model.embedding(tokens.expand(4, 3)))
    assert model.training and not model.linear._forward_pre_hooks


def test_a_batch_that_would_take_too_long_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            clock.now += 0.3 * len(x)
            return x

    assert feasible(Slow(), torch.ones(2, 1), 256) == 6
    assert feasible(Slow(), torch.ones(2, 1), 5) == 5


def test_layers_are_measured_in_evaluation_mode() -> None:
    modes = []

    class Layer(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(input)

    dense, low = Layer(3, 3).train(), Layer(3, 3).train()
    rank_seconds(dense, lambda rank: low, [1], (torch.ones(1, 3),))
    compare_modules(dense, low, torch.ones(1, 3), rounds=1)
    assert not any(modes) and dense.training and low.training
