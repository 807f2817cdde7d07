"""State dicts of a factorized model and of the dense one, mapped to each other."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from eckart.compression.places import low_rank_layers, opened_attention
from eckart.compression.replacing import dense_weight
from eckart.linalg.svd import truncated_factors
from eckart.nn.low_rank_attention import ProjectedAttention
from eckart.nn.low_rank_conv import LowRankConv1d, LowRankConv2d, unfolded

# Of dense attention, in their order, before all others.
_PACKED = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias")


def checked(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Refuse a state dict of another model.

    Args:
        state: The state dict.
        expected: One of the model.

    Raises:
        ValueError: With the first key that is missing, has another shape, or is not one of the model's.

    Example:
        >>> checked({"weight": torch.ones(2)}, {"weight": torch.ones(3)})
        Traceback (most recent call last):
        ValueError: The state must be of this model: weight of shape (3,). Found shape (2,).
    """
    law = "The state must be of this model"
    for name, tensor in expected.items():
        if name not in state:
            raise ValueError(f"{law}: {name} of shape {tuple(tensor.shape)}. Found no such key.")
        if state[name].shape != tensor.shape:
            shapes = f"{name} of shape {tuple(tensor.shape)}. Found shape {tuple(state[name].shape)}"
            raise ValueError(f"{law}: {shapes}.")
    if extra := next((name for name in state if name not in expected), None):
        raise ValueError(f"{law}. Found the key {extra}, which it does not have.")
    return state


def dense_state(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """State dict of the dense model, from one of a model of low rank.

    Args:
        model: The model of low rank.
        state: Its state dict; None for the present one.

    Raises:
        ValueError: If it is the state of another model.
    """
    own = model.state_dict()
    dense = dict(own if state is None else checked(state, own))
    for path, module in low_rank_layers(model):
        left, right = dense.pop(f"{path}.left"), dense.pop(f"{path}.right")
        dense[f"{path}.weight"] = dense_weight(module, left, right)
    for path, attention in opened_attention(model):
        _pack(dense, f"{path}.", attention)
    return {name: dense[name] for name in _in_order(model, own, dense)}


def low_rank_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of a model of low rank, from one of the dense model: truncated SVDs, in balanced factors.

    Args:
        model: The model of low rank.
        state: State dict of the dense one.

    Raises:
        ValueError: If it is the state of another model.
    """
    given = dict(checked(state, dense_state(model)))
    for path, attention in opened_attention(model):
        _unpack(given, f"{path}.", attention)
    for path, module in low_rank_layers(model):
        matrix = weight = given.pop(f"{path}.weight")
        if isinstance(module, LowRankConv1d | LowRankConv2d):
            matrix = unfolded(weight, module.first, module.groups)
        for side, factor in zip(("left", "right"), truncated_factors(matrix.double(), module.rank), strict=True):
            given[f"{path}.{side}"] = factor.to(weight.dtype)
    return {name: given[name] for name in model.state_dict()}


def _in_order(model: nn.Module, own: Iterable[str], dense: Mapping[str, Tensor]) -> Iterator[str]:
    """Keys of the dense state in the order that the dense model has, from those of the model of low rank."""
    packed = {f"{path}.": [f"{path}.{name}" for name in _PACKED] for path, _ in opened_attention(model)}
    for key in own:
        for prefix in [prefix for prefix in packed if key.startswith(prefix)]:
            yield from (name for name in packed.pop(prefix) if name in dense)
        path, _, name = key.rpartition(".")
        if name == "left" and f"{path}.weight" in dense:
            yield f"{path}.weight"
        elif key in dense:
            yield key


def _pack(state: dict[str, Tensor], prefix: str, attention: ProjectedAttention) -> None:
    """Put the projections of an attention into the keys of a dense one."""
    names = [f"{prefix}{letter}_proj" for letter in "qkv"]
    weights = [state.pop(f"{name}.weight") for name in names]
    if attention.packed:
        state[f"{prefix}in_proj_weight"] = torch.cat(weights)
    else:
        state |= {f"{name}_weight": weight for name, weight in zip(names, weights, strict=True)}
    if f"{names[0]}.bias" in state:
        state[f"{prefix}in_proj_bias"] = torch.cat([state.pop(f"{name}.bias") for name in names])


def _unpack(state: dict[str, Tensor], prefix: str, attention: ProjectedAttention) -> None:
    """The inverse of :func:`_pack`."""
    names = [f"{prefix}{letter}_proj" for letter in "qkv"]
    if attention.packed:
        weights = list(state.pop(f"{prefix}in_proj_weight").chunk(3))
    else:
        weights = [state.pop(f"{name}_weight") for name in names]
    state |= {f"{name}.weight": weight for name, weight in zip(names, weights, strict=True)}
    if f"{prefix}in_proj_bias" in state:
        biases = state.pop(f"{prefix}in_proj_bias").chunk(3)
        state |= {f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)}
