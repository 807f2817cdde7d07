"""Measured time of layers and of models: forward passes, with batches of several sizes."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from eckart.compression.counting import call, calling_layers, evaluating
from eckart.compression.timing import MAX_ROUNDS, Comparison, compare, seconds

Forward = Callable[[nn.Module, Any], Any]
# Samples of a batch: of one at a time, and of many.
SIZES = (1, 256)
# A pass takes at most so long: of a large model, fewer samples than were asked for are measured at once.
PASS_SECONDS = 2.0


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
    """Arguments that each layer gets in the model, to measure it alone.

    Args:
        model: Any module.
        layers: Modules of the model by their paths.
        inputs: Inputs of the model.
        forward: As of :func:`pass_of`.

    Returns:
        For each layer that is reached the arguments of its first call, in memory of their own.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
        >>> examples(net, {"1": net[1]}, torch.ones(5, 2))["1"][0].shape
        torch.Size([5, 3])
    """
    found: dict[str, tuple[Any, ...]] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            found.setdefault(path, pytree.tree_map_only(Tensor, lambda x: x.detach().clone(), args))

        return hook

    handles = [layer.register_forward_pre_hook(keep(path)) for path, layer in layers.items()]
    try:
        with calling_layers(model), torch.no_grad():
            forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


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
