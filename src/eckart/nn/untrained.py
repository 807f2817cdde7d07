"""A new model whose large layers have low rank from the start: no dense weight of them is ever held."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eckart.nn.low_rank_conv import LowRankConv1d, LowRankConv2d
from eckart.nn.low_rank_linear import LowRankLinear

SMALLEST = 16
"""Layers with a side below this stay dense: they have little to save, as the ten rows of a layer of logits."""


def untrained(make: Callable[[], nn.Module], rank: Callable[[str, int, int], int]) -> nn.Module:
    """Make a model whose linear layers and convolutions have low rank, with new weights.

    The model is made on torch's device ``meta``, where tensors have a shape and no memory. Its layers are replaced, and
    everything else is drawn anew by the ``reset_parameters`` of its module.

    Args:
        make: Makes the dense model.
        rank: Rank of a layer, given its path and the sides m and n of its weight as a matrix: the output channels by
            all others. Cut to what saves weights, ``m n / (m + n)``.

    Returns:
        The model on the CPU. Its layers with both sides of at least ``SMALLEST`` are of low rank, but for subclasses
        of torch's layers, lazy layers and layers that share a weight.

    Raises:
        ValueError: If it is no module, or a module in it has parameters of its own and no ``reset_parameters``, so they
            cannot be drawn anew.

    Example:
        >>> net = untrained(lambda: nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 10)), lambda *_: 5)
        >>> net
        Sequential(
          (0): LowRankLinear(in_features=40, out_features=30, rank=5, bias=True)
          (1): ReLU()
          (2): Linear(in_features=30, out_features=10, bias=True)
        )
    """
    with torch.device("meta"):
        model = make()
    if not isinstance(model, nn.Module):
        raise ValueError(f"The model must be a torch.nn.Module. Found {type(model).__name__}.")
    shared = _shared(model)
    places = [
        (path, module) for path, module in model.named_modules() if _is_large(module) and id(module) not in shared
    ]
    for path, module in places:
        sides = module.weight.shape[0], math.prod(module.weight.shape[1:])
        most = max(1, math.prod(sides) // sum(sides))
        made = _low_rank(module, max(1, min(most, rank(path, *sides))))
        if not path:
            return made
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, made)
    drawn: dict[int, nn.Parameter] = {}
    for path, module in model.named_modules():
        _draw(path, module, drawn)
    return model


def _is_large(module: Any) -> bool:
    # A subclass may read its weight in a forward pass of its own, as attention does.
    if type(module) not in (nn.Linear, nn.Conv1d, nn.Conv2d):
        return False
    weight = module.weight
    return min(weight.shape[0], math.prod(weight.shape[1:])) >= SMALLEST and getattr(module, "groups", 1) == 1


def _shared(model: nn.Module) -> set[int]:
    """Modules that share a parameter with another one, or are at several places, by their ids."""
    owners: dict[int, list[int]] = {}
    for _, module in model.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(id(module))
    return {owner for found in owners.values() if len(found) > 1 for owner in found}


def _low_rank(module: Any, rank: int) -> nn.Module:
    if isinstance(module, nn.Linear):
        return LowRankLinear(
            module.in_features, module.out_features, rank, module.bias is not None, dtype=module.weight.dtype
        )
    kind = LowRankConv1d if isinstance(module, nn.Conv1d) else LowRankConv2d
    # Like the dense one it is on the device meta.
    layer: nn.Module = kind.like(module, rank).to_empty(device="cpu")
    layer.reset_parameters()  # type: ignore[operator]
    return layer


def _draw(path: str, module: nn.Module, drawn: dict[int, nn.Parameter]) -> None:
    own = dict(module.named_parameters(recurse=False))
    if not any(tensor.is_meta for tensor in (*own.values(), *module.buffers(recurse=False))):
        return
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if reset is None:
        law = "A model that is trained from the start must draw all its parameters by reset_parameters"
        raise ValueError(f"{law}. Found {type(module).__name__} without it at {path or 'the top'}.")
    module.to_empty(device="cpu", recurse=False)
    reset()
    for name, before in own.items():
        # A parameter of several modules is still one.
        setattr(module, name, drawn.setdefault(id(before), getattr(module, name)))
