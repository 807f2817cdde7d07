"""What the ranks of layers cost: parameters, multiply-adds for one sample, or measured seconds."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eckart.compression.candidate import Candidate, Option
from eckart.compression.counting import count, count_parameters, evaluating
from eckart.compression.interpolation import rising, some_ranks
from eckart.compression.latency import Comparison, compare_modules, examples, pass_of, rank_seconds, seconds
from eckart.compression.layers import Form, Layer, low_rank_like
from eckart.compression.moments import Forward

# Ranks of a form that are timed; the seconds between them are interpolated.
TIMED_RANKS = 5


class Costs(Protocol):
    """What a budget is a share of.

    Attributes:
        name: Its name in messages.
    """

    name: str

    @property
    def total(self) -> float:
        """Of the whole dense model."""

    def options(self, candidate: Candidate) -> list[float]:
        """Cost of each option of a layer."""


class Parameters:
    """Parameters, with all biases.

    Args:
        model: The dense model.
    """

    name = "parameters"

    def __init__(self, model: nn.Module) -> None:
        self.total = float(count_parameters(model))

    def options(self, candidate: Candidate) -> list[float]:
        """Parameters of the weight of a layer at each of its options."""
        return [float(option.parameters) for option in candidate.options]


class MultiplyAdds:
    """Multiply-adds for one sample, counted by :func:`~eckart.compression.counting.count`.

    Args:
        model: The dense model.
        layers: Its layers.
        batch: A batch; its first sample is used.
        forward: Calls the model with a batch.
    """

    name = "multiply-adds"

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch: Any, forward: Forward) -> None:
        self._sample, self._forward = one_sample(batch), forward
        self._calls = self._shapes(model, layers)
        self.total = float(self.of_model(model))

    def of_model(self, model: nn.Module) -> int:
        """Multiply-adds of the model, dense or factorized."""
        return count(Called(model, self._forward), (self._sample,)).multiply_adds

    def of_layer(self, layer: Layer, rank: int | None, form: Form = None) -> int:
        """Multiply-adds of a layer at a rank, or dense; of all layers with its weight together."""
        computed = 0
        for module in layer.modules:
            shadow: nn.Module = copy.deepcopy(module).to("meta")
            if rank is not None:
                shadow = low_rank_like(shadow, 1, form)
            computed += sum(count(shadow, x).multiply_adds for x in self._calls[module])
        return computed * (1 if rank is None else rank)

    def options(self, candidate: Candidate) -> list[float]:
        """Multiply-adds of a layer at each of its options."""
        layer, options = candidate.layer, candidate.options
        unit = {form: self.of_layer(layer, 1, form) for form in {option.form for option in options[1:]}}
        dense = float(self.of_layer(layer, None))
        return [dense if o.rank is None else float(o.rank * unit[o.form]) for o in options]

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


class Seconds:
    """Measured seconds of a pass, for batches of the size that the inputs have.

    Args:
        model: The dense model.
        layers: Its layers.
        batch: A batch.
        forward: Calls the model with a batch.
    """

    name = "latency"

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch: Any, forward: Forward) -> None:
        self._called, self._batch = Called(model, forward), batch
        modules = {layer.path: layer.modules[0] for layer in layers}
        self._examples = examples(self._called, modules, (batch,))

    @cached_property
    def total(self) -> float:
        """Seconds of a pass of the dense model."""
        with evaluating(self._called):
            return seconds([pass_of(self._called, (self._batch,))])[0]

    def options(self, candidate: Candidate) -> list[float]:
        """Seconds of a layer at each of its options, measured at some ranks of each form."""
        layer, options = candidate.layer, candidate.options
        found: dict[Form, Any] = {}
        whole = []
        for form in {option.form for option in options[1:]}:
            ranks = some_ranks(max(o.rank or 0 for o in options if o.form == form), TIMED_RANKS)
            build = _builder(layer, form)
            low, dense = rank_seconds(layer.modules[0], build, ranks, self._examples[layer.path])
            whole.append(dense)
            found[form] = rising(ranks, low, ranks[-1]) if len(ranks) > 1 else low
        if not whole:
            return [0.0] * len(options)
        return [min(whole) if o.rank is None else float(found[o.form][o.rank - 1]) for o in options]

    def compare(self, layer: Layer, option: Option) -> Comparison:
        """Time a layer of low rank beside the dense one."""
        assert option.rank is not None
        low = _builder(layer, option.form)(option.rank)
        return compare_modules(layer.modules[0], low, self._examples[layer.path])


def _builder(layer: Layer, form: Form) -> Any:
    return lambda rank: low_rank_like(layer.modules[0], rank, form)


class Called(nn.Module):
    """A model and how it is called, as one module of one argument.

    Args:
        model: The model.
        forward: Calls it with a batch.
    """

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._call = forward

    def forward(self, batch: Any) -> Any:
        """The outputs for a batch."""
        return self._call(self.model, batch)


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
