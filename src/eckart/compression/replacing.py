"""Layers of a model put in place of others: of low rank, dense again, attention with a module for each projection."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.layers import Form
from eckart.nn.low_rank_attention import ProjectedAttention
from eckart.nn.low_rank_conv import LowRankConv1d, LowRankConv2d, folded
from eckart.nn.low_rank_embedding import LowRankEmbedding
from eckart.nn.low_rank_linear import LowRankLinear

LowRank = LowRankLinear | LowRankConv1d | LowRankConv2d | LowRankEmbedding
"""Every layer of low rank: ``left``, ``right``, and a ``weight`` that is computed from them."""
LOW_RANK = (LowRankLinear, LowRankConv1d, LowRankConv2d, LowRankEmbedding)
# Where a module keeps its hooks, and how they are called.
_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def low_rank_like(module: nn.Module, rank: int, form: Form = None) -> LowRank:
    """A layer of low rank in place of a dense one, with the same mode and hooks; its weights are not those of it."""
    layer: LowRank
    weight: Tensor = module.weight  # type: ignore[assignment]
    devices = [weight.device] if weight.is_cuda else []
    # The weights are filled in: the stream of random numbers goes on as if they had not been drawn.
    with torch.random.fork_rng(devices=devices):
        if isinstance(module, nn.Conv2d):
            layer = LowRankConv2d.like(module, rank, form)
        elif isinstance(module, nn.Conv1d):
            layer = LowRankConv1d.like(module, rank, form)
        elif isinstance(module, nn.Embedding):
            layer = LowRankEmbedding(
                weight.shape[0], weight.shape[1], rank, module.padding_idx, weight.device, weight.dtype
            )
        else:
            layer = LowRankLinear(
                weight.shape[1], weight.shape[0], rank, module.bias is not None, weight.device, weight.dtype
            )
    _carry_over(module, layer)
    layer.left.requires_grad_(weight.requires_grad)
    layer.right.requires_grad_(weight.requires_grad)
    return layer


def dense_like(layer: LowRank) -> nn.Module:
    """The dense layer with the outputs of a layer of low rank, with the same mode and hooks."""
    dense: Any
    if isinstance(layer, LowRankLinear):
        dense = layer.to_linear()
    elif isinstance(layer, LowRankEmbedding):
        dense = layer.to_embedding()
    else:
        dense = layer.to_conv()
    _carry_over(layer, dense)
    dense.weight.requires_grad_(layer.left.requires_grad)
    return dense


def _carry_over(old: nn.Module, new: nn.Module) -> None:
    """Give a module that replaces another its mode, its hooks, and whether its bias learns."""
    for name in _HOOKS:
        setattr(new, name, getattr(old, name))
    bias = new._parameters.get("bias")
    if bias is not None:
        bias.requires_grad_(old._parameters["bias"].requires_grad)  # type: ignore[union-attr]
    new.train(old.training)


def dense_weight(layer: LowRank, left: Tensor, right: Tensor) -> Tensor:
    """The dense weight that a layer of low rank would have with these factors."""
    if isinstance(layer, LowRankConv1d | LowRankConv2d):
        return folded(left @ right, layer.shape, layer.first, layer.groups)
    return left @ right


def replace(model: nn.Module, paths: Iterable[str], module: nn.Module) -> None:
    """Put a module at places of a model."""
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, module)


def open_attention(model: nn.Module, paths: Iterable[str]) -> None:
    """Replace attention at these paths by one whose projections are modules."""
    for path in paths:
        dense = model.get_submodule(path)
        if isinstance(dense, nn.MultiheadAttention) and not isinstance(dense, ProjectedAttention):
            replace(model, _places(model, dense), ProjectedAttention(dense))


def close_attention(model: nn.Module, path: str) -> None:
    """The inverse of :func:`open_attention`."""
    attention = model.get_submodule(path)
    if isinstance(attention, ProjectedAttention):
        replace(model, _places(model, attention), attention.to_dense())


def slow_paths(model: nn.Module, every: bool = False) -> None:
    """Let torch's encoders read weights of dense layers only: their fast path knows no others.

    Encoders with a layer of low rank inside call their layers; others are as they were before.

    Args:
        model: Any module.
        every: Whether all encoders call their layers, with plain tensors, so that hooks can see the inputs.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            _switch(module, "activation_relu_or_gelu", 0, every)
        elif isinstance(module, nn.TransformerEncoder):
            _switch(module, "use_nested_tensor", False, every)


def _switch(module: nn.Module, name: str, off: object, every: bool) -> None:
    kept = f"_dense_{name}"
    low = every or any(isinstance(inner, (*LOW_RANK, ProjectedAttention)) for inner in module.modules())
    if low and not hasattr(module, kept):
        setattr(module, kept, getattr(module, name))
        setattr(module, name, off)
    elif not low and hasattr(module, kept):
        setattr(module, name, getattr(module, kept))
        delattr(module, kept)


def _places(model: nn.Module, module: nn.Module) -> list[str]:
    return [path for path, other in model.named_modules(remove_duplicate=False) if other is module and path]
