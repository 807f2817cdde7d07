"""What the ranks of layers cost: parameters, multiply-adds for one sample, or measured seconds."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eckart.compression.candidate import Candidate
from eckart.compression.counting import Counts, calling_layers, count, count_parameters, evaluating
from eckart.compression.interpolation import rising, some_ranks
from eckart.compression.latency import SIZES, examples, feasible, pass_of, rank_seconds, resized
from eckart.compression.layers import Form, Layer
from eckart.compression.moments import Forward
from eckart.compression.replacing import low_rank_like
from eckart.compression.timing import seconds

# Ranks of a form that are timed; the seconds between them are interpolated.
TIMED_RANKS = 6


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
        counts = self._counted(model)
        self._dense = {path.removeprefix("model."): layer.multiply_adds for path, layer in counts.layers.items()}
        self.total = float(counts.multiply_adds)

    def of_model(self, model: nn.Module) -> int:
        """Multiply-adds of the model, dense or factorized."""
        return self._counted(model).multiply_adds

    def of_layer(self, layer: Layer, rank: int | None, form: Form = None) -> int:
        """Multiply-adds of a layer at a rank, or dense; of all layers with its weight together."""
        if rank is None:
            return sum(self._dense.get(path, 0) for path in layer.module_paths)
        # Of rank 1, which is quickly computed.
        least = [(low_rank_like(module, 1, form), self._calls[module]) for module in layer.modules]
        return rank * sum(count(low, torch.zeros_like(x)).multiply_adds for low, calls in least for x in calls)

    def _counted(self, model: nn.Module) -> Counts:
        return count(Called(model, self._forward), (self._sample,))

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
            # One number in memory, of the shape and on the device of the input.
            calls[module].append(x.new_zeros(()).expand(x.shape))

        handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in calls]
        try:
            with calling_layers(model), torch.no_grad():
                self._forward(model, self._sample)
        finally:
            for handle in handles:
                handle.remove()
        return calls


class Seconds:
    """Measured time of a forward pass: the mean, over batches of several sizes, of the share of the dense model's time.

    Each layer is timed dense and at some ranks, with inputs of the shapes that it gets in the model; between these
    ranks a monotone curve is drawn. Layers of equal shapes are timed once.

    Args:
        model: The dense model.
        layers: Its layers.
        batch: A batch.
        forward: Calls the model with a batch.
        sizes: Samples of a batch; of a large model, fewer.
    """

    name = "latency"
    total = 1.0

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], batch: Any, forward: Forward, sizes: Sequence[int] = SIZES
    ) -> None:
        modules = {layer.path: layer.modules[0] for layer in layers}
        self._known: dict[Any, tuple[Any, float]] = {}
        self._passes: list[tuple[float, dict[str, tuple[Any, ...]]]] = []
        for size in sorted({feasible(model, batch, size, forward) for size in sizes}):
            inputs = resized(batch, size)
            with evaluating(model):
                whole = seconds([pass_of(model, inputs, forward)], typical=min)[0]
            self._passes.append((whole, examples(model, modules, inputs, forward)))

    def options(self, candidate: Candidate) -> list[float]:
        """Cost of a layer at each of its options."""
        costs = [0.0] * len(candidate.options)
        for whole, args in self._passes:
            for place, taken in enumerate(self._seconds(candidate, args[candidate.layer.path])):
                costs[place] += taken / whole / len(self._passes)
        return costs

    def _seconds(self, candidate: Candidate, args: tuple[Any, ...]) -> list[float]:
        layer, options = candidate.layer, candidate.options
        module, curves, whole = layer.modules[0], dict[Form, Any](), 0.0
        for form in {option.form for option in options[1:]}:
            largest = max(option.rank or 1 for option in options if option.form == form)
            shapes = tuple(tuple(x.shape) for x in args)
            key = (type(module), module.extra_repr(), form, largest, shapes)
            if key not in self._known:
                ranks = some_ranks(largest, TIMED_RANKS)
                low, dense = rank_seconds(module, _builder(layer, form), ranks, args)
                self._known[key] = (rising(ranks, low, largest) if len(ranks) > 1 else low * largest, dense)
            curves[form], whole = self._known[key]
        uses = len(layer.modules)
        return [uses * float(whole if o.rank is None else curves[o.form][o.rank - 1]) for o in options]


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
