"""Measured time of layers and models, and whether one is faster than another beyond the noise."""

import contextlib
import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from eckart.compression.counting import call, evaluating

Forward = Callable[[nn.Module, Any], Any]
# Samples of a batch: of one at a time, and of many.
SIZES = (1, 256)
# A block of calls takes at least so long, so that the clock's resolution and the call itself matter little.
BLOCK_SECONDS = 0.0003
# Of so many blocks the fastest counts: other programs interrupt some of them.
BLOCKS = 5
ROUNDS = 9
MAX_ROUNDS = 45
# Of the intervals that decide which of two is faster.
CONFIDENCE = 0.99
# A pass takes at most so long: of a large model, fewer samples than were asked for are measured at once.
PASS_SECONDS = 2.0


@dataclass(frozen=True)
class Comparison:
    """Times of one module beside another, measured in turns.

    Attributes:
        first: Seconds of a call of the first, median.
        second: Seconds of a call of the second, median.
        ratio: Median of second by first over the rounds. Both of a round are measured right after each other, so what
            slows the machine for longer than a round leaves it alone.
        low: Lower end of the interval that holds the ratio with ``CONFIDENCE``.
        high: Its upper end.
    """

    first: float
    second: float
    ratio: float
    low: float
    high: float

    @property
    def faster(self) -> bool:
        """Whether the second is faster, beyond the noise."""
        return self.high < 1

    @property
    def slower(self) -> bool:
        """Whether the second is slower, beyond the noise."""
        return self.low > 1


def compare(first: Callable[[], Any], second: Callable[[], Any], *, rounds: int = MAX_ROUNDS) -> Comparison:
    """Measure two computations in turns, until it is clear which is faster, or the rounds are used up.

    Args:
        first: The first; is called some times before the clock starts.
        second: The second.
        rounds: Most rounds; at least ``ROUNDS`` are measured.

    Returns:
        The times, the ratio, and an interval for it.

    Note:
        The interval is that of the sign test, which assumes nothing of the noise but that rounds are independent.

    Example:
        >>> x = torch.ones(400, 400)
        >>> compare(lambda: x @ x @ x @ x, lambda: x[0] @ x).faster
        True
    """
    turns = _Turns([first, second])
    done = 0
    while done < max(rounds, ROUNDS):
        turns.measure(ROUNDS)
        done += ROUNDS
        ratios = sorted(b / a for a, b in zip(*turns.seconds, strict=True))
        outside = _outside(len(ratios))
        low, high = ratios[outside - 1 if outside else 0], ratios[-outside if outside else -1]
        if low > 1 or high < 1:
            break
    before, after = (statistics.median(times) for times in turns.seconds)
    return Comparison(before, after, statistics.median(ratios), low, high)


def _outside(count: int) -> int:
    """Values beyond each end of the sign test's interval for a median, and the end itself.

    Example:
        >>> _outside(9), _outside(45)
        (1, 14)
    """
    place, tail = 0, 0.0
    while tail < (1 - CONFIDENCE) / 2:
        tail += math.comb(count, place) / 2**count
        place += 1
    return place - 1


def seconds(
    functions: Sequence[Callable[[], Any]],
    *,
    rounds: int = ROUNDS,
    typical: Callable[[Sequence[float]], float] = statistics.median,
) -> list[float]:
    """Seconds of a call of each of several computations, measured in turns.

    Args:
        functions: The computations.
        rounds: How often each is measured.
        typical: What is taken of the rounds: the median, or the minimum, which other programs disturb least.

    Example:
        >>> x = torch.ones(300, 300)
        >>> less, more = seconds([lambda: x[0] @ x, lambda: x @ x @ x], rounds=3)
        >>> less < more
        True
    """
    turns = _Turns(functions)
    turns.measure(rounds)
    return [float(typical(times)) for times in turns.seconds]


class _Turns:
    """Computations that are measured in turns, in an order that changes from round to round."""

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self.functions = list(functions)
        self.seconds: list[list[float]] = [[] for _ in functions]
        for function in self.functions:
            function()
        counted = [_calls(function) for function in self.functions]
        self.calls, self.times = [calls for calls, _ in counted], [taken for _, taken in counted]

    def measure(self, rounds: int) -> None:
        places = list(range(len(self.functions)))
        for turn in range(rounds):
            for place in places if turn % 2 == 0 else reversed(places):
                function, calls = self.functions[place], self.calls[place]
                blocks = BLOCKS if self.times[place] * calls < BLOCKS * BLOCK_SECONDS else 1
                self.seconds[place].append(min(_block(function, calls) for _ in range(blocks)))


def _calls(function: Callable[[], Any]) -> tuple[int, float]:
    """How many calls fill a block, and about how long one takes."""
    calls = 1
    while True:
        taken = _block(function, calls)
        if calls * taken >= BLOCK_SECONDS or calls >= 1_000_000:
            return calls, taken
        calls = min(calls * 8, math.ceil(1.2 * BLOCK_SECONDS / max(taken, 1e-9)))


def _block(function: Callable[[], Any], calls: int) -> float:
    """Seconds of a call, mean of several."""
    _finish()
    start = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        function()
    _finish()
    return (time.perf_counter() - start) / calls


def _finish() -> None:
    """Wait for what accelerators still compute."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def pass_of(module: nn.Module, inputs: Any, forward: Forward = call) -> Callable[[], Any]:
    """A forward pass without gradients, as a function for measuring.

    Args:
        module: Any module. It must be in evaluation mode already.
        inputs: A batch.
        forward: Calls the module with a batch. By default it is a tensor, a tuple of arguments, or a mapping of keyword
            arguments.

    Example:
        >>> pass_of(nn.Identity(), torch.ones(1))()
        tensor([1.])
    """

    def run() -> Any:
        with torch.inference_mode():
            return forward(module, inputs)

    return run


def resized(inputs: Any, size: int) -> Any:
    """The first samples of a batch, over and over, as a batch of another size.

    Args:
        inputs: Tensors in tuples, lists or mappings, each with the samples along its first dimension.
        size: Samples wanted.

    Example:
        >>> resized((torch.tensor([1, 2]),), 5)
        (tensor([1, 2, 1, 2, 1]),)
    """

    def repeated(x: Tensor) -> Tensor:
        return x[torch.arange(size, device=x.device) % len(x)]

    return pytree.tree_map_only(Tensor, repeated, inputs)


def feasible(model: nn.Module, inputs: Any, size: int, forward: Forward = call) -> int:
    """Samples of one pass that takes at most ``PASS_SECONDS``: those asked for, or as many as fit.

    Args:
        model: Any module.
        inputs: As of :func:`resized`.
        size: Samples asked for.
        forward: As of :func:`pass_of`.

    Example:
        >>> feasible(nn.Linear(2, 2), torch.ones(1, 2), 256)
        256
    """
    with evaluating(model):
        once = seconds([pass_of(model, resized(inputs, 1), forward)], rounds=1)[0]
    return max(min(size, int(PASS_SECONDS / once)), 1)


def examples(
    model: nn.Module, layers: Mapping[str, nn.Module], inputs: Any, forward: Forward = call
) -> dict[str, tuple[Any, ...]]:
    """Arguments for each layer of the shapes that it gets in the model, to measure it alone.

    Args:
        model: Any module.
        layers: Modules of the model by their paths.
        inputs: Inputs of the model.
        forward: As of :func:`pass_of`.

    Returns:
        For each layer that is reached the arguments of its first call, with random numbers in the place of the real
        ones, so that no activation is kept. Whole numbers (of an embedding) are kept.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
        >>> examples(net, {"1": net[1]}, torch.ones(5, 2))["1"][0].shape
        torch.Size([5, 3])
    """
    found: dict[str, tuple[Any, ...]] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            found.setdefault(path, pytree.tree_map_only(Tensor, _like, args))

        return hook

    handles = [layer.register_forward_pre_hook(keep(path)) for path, layer in layers.items()]
    try:
        with evaluating(model), torch.no_grad():
            forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _like(x: Tensor) -> Tensor:
    return torch.randn_like(x) if x.is_floating_point() else x.clone()


def compare_modules(
    first: nn.Module, second: nn.Module, inputs: Any, *, forward: Forward = call, rounds: int = MAX_ROUNDS
) -> Comparison:
    """:func:`compare` of the forward passes of two modules in evaluation mode.

    Args:
        first: The first module; both keep their modes.
        second: The second module.
        inputs: Inputs of both.
        forward: As of :func:`pass_of`.
        rounds: Most rounds.

    Example:
        >>> wide, narrow = nn.Linear(900, 900), nn.Linear(900, 9)
        >>> compare_modules(wide, narrow, torch.ones(64, 900)).faster
        True
    """
    with evaluating(first), evaluating(second):
        return compare(pass_of(first, inputs, forward), pass_of(second, inputs, forward), rounds=rounds)


def rank_seconds(
    dense: nn.Module, build: Callable[[int], nn.Module], ranks: Sequence[int], args: tuple[Any, ...]
) -> tuple[list[float], float]:
    """Seconds of a layer at several ranks, and of the dense layer, measured in turns.

    Args:
        dense: The dense layer.
        build: Gives the layer of a rank, on the device of the dense one.
        ranks: The ranks.
        args: Arguments of the layer, as :func:`examples` gives them.

    Returns:
        Seconds at each rank, and of the dense layer: the least of several rounds.

    Example:
        >>> dense, x = nn.Linear(900, 900), torch.ones(64, 900)
        >>> low, whole = rank_seconds(dense, lambda k: nn.Sequential(nn.Linear(900, k), nn.Linear(k, 900)), [4], (x,))
        >>> low[0] < whole
        True
    """
    modules = [dense, *(build(rank) for rank in ranks)]
    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(evaluating(module))
        whole, *low = seconds([pass_of(module, args) for module in modules], typical=min)
    return low, whole


def measure(
    dense: nn.Module, low: nn.Module, inputs: Any, sizes: Sequence[int] = SIZES, forward: Forward = call
) -> tuple[dict[str, Any], dict[int, Comparison]]:
    """Seconds of a pass of a model and of the same model with layers of low rank, for batches of several sizes.

    Both run on the device that the inputs are on, with the threads that torch has, without gradients.

    Args:
        dense: The dense model.
        low: The other.
        inputs: Samples, as of :func:`resized`.
        sizes: Samples of a batch; a batch of which the dense model would take longer than ``PASS_SECONDS`` is smaller.
        forward: As of :func:`pass_of`.

    Returns:
        A summary of plain numbers, ``device``, ``dense`` and ``factorized`` (seconds by the size of the batch), and
        the comparisons by the size.

    Example:
        >>> summary, _ = measure(nn.Linear(99, 9), nn.Linear(99, 9), torch.ones(1, 99), sizes=[2])
        >>> summary["device"], list(summary["dense"]), list(summary["factorized"])
        ('cpu', ['2'], ['2'])
    """
    found: dict[int, Comparison] = {}
    for size in sizes:
        size = feasible(dense, inputs, size, forward)
        if size not in found:
            found[size] = compare_modules(dense, low, resized(inputs, size), forward=forward)
    device = next((x.device for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)), torch.device("cpu"))
    summary = {
        "device": device.type,
        "dense": {str(size): comparison.first for size, comparison in found.items()},
        "factorized": {str(size): comparison.second for size, comparison in found.items()},
    }
    return summary, found
