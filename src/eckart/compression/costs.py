"""What the ranks of layers cost: parameters, or multiply-adds for one sample."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.counting import count, evaluating
from eckart.compression.layers import Form, Layer, low_rank_like
from eckart.compression.moments import Forward


def one_sample(batch: Any) -> Any:
    """The first sample of a batch, as a batch of one: the first dimension of each tensor is the batch.

    Example:
        >>> one_sample((torch.ones(5, 3), [torch.zeros(5)]))
        (tensor([[1., 1., 1.]]), [tensor([0.])])
    """
    if isinstance(batch, Tensor):
        return batch[:1] if batch.dim() else batch
    if isinstance(batch, Mapping):
        return {name: one_sample(value) for name, value in batch.items()}
    if isinstance(batch, list | tuple) and not hasattr(batch, "_fields"):
        return type(batch)(one_sample(value) for value in batch)
    return batch


class MultiplyAdds:
    """Multiply-adds of a model and of its layers for one sample, counted by :func:`~eckart.compression.counting.count`.

    Args:
        model: The dense model.
        layers: Its layers.
        sample: A batch of one.
        forward: Calls the model with a batch.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], sample: Any, forward: Forward) -> None:
        self._sample, self._forward = sample, forward
        self._calls = self._shapes(model, layers)
        self.total = self.of_model(model)

    def of_model(self, model: nn.Module) -> int:
        """Multiply-adds of the model, dense or factorized."""
        return count(_Called(model, self._forward), (self._sample,)).multiply_adds

    def of_layer(self, layer: Layer, rank: int | None, form: Form = None) -> int:
        """Multiply-adds of a layer at a rank, or dense; of all layers with its weight together."""
        computed = 0
        for module in layer.modules:
            shadow: nn.Module = copy.deepcopy(module).to("meta")
            if rank is not None:
                shadow = low_rank_like(shadow, 1, form)
            computed += sum(count(shadow, x).multiply_adds for x in self._calls[module])
        return computed * (1 if rank is None else rank)

    def _shapes(self, model: nn.Module, layers: Sequence[Layer]) -> dict[nn.Module, list[Tensor]]:
        calls: dict[nn.Module, list[Tensor]] = {module: [] for layer in layers for module in layer.modules}

        def note(module: nn.Module, args: Any, kwargs: Any) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            calls[module].append(torch.empty(x.shape, dtype=x.dtype, device="meta"))

        handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in calls]
        try:
            with evaluating(model), torch.no_grad():
                self._forward(model, self._sample)
        finally:
            for handle in handles:
                handle.remove()
        return calls


class _Called(nn.Module):
    """A model and how it is called, as one module of one argument."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._call = forward

    def forward(self, batch: Any) -> Any:
        return self._call(self.model, batch)
