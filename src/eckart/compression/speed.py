"""Which ranks make a layer faster than the dense one, measured as it is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from eckart.compression.latency import SIZES, compare_modules, examples, feasible, resized
from eckart.compression.layers import Form, Layer
from eckart.compression.moments import Forward
from eckart.compression.replacing import low_rank_like
from eckart.compression.timing import Comparison


@dataclass
class _Known:
    """What is known of layers of one kind and shape: the largest rank that is faster, and the least that is not."""

    faster: int = 0
    slower: int | None = None
    ratios: dict[int, tuple[float, int]] = field(default_factory=dict)


class Speed:
    """Measures layers of low rank against dense ones, with inputs of the shapes that they get in a model.

    A rank is faster if it is, beyond the noise, for each size of a batch. Layers of equal shapes are measured once, and
    time is taken to rise with the rank: of a rank below one that is faster, or above one that is not, the answer is
    known. So noise cannot make one of two equal layers dense and the other one not.

    Args:
        model: The dense model.
        layers: Layers of it.
        batch: Samples for it.
        forward: Calls the model with a batch.
        sizes: Samples of a batch. Of a large model, fewer: see :func:`eckart.compression.latency.feasible`.
        compare: Compares a dense layer and one of low rank on inputs.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch: Any,
        forward: Forward,
        sizes: Sequence[int] = SIZES,
        compare: Callable[[nn.Module, nn.Module, Any], Comparison] = compare_modules,
    ) -> None:
        modules = {layer.path: layer.modules[0] for layer in layers}
        self.sizes = sorted({feasible(model, batch, size, forward) for size in sizes})
        self._args = {size: examples(model, modules, resized(batch, size), forward) for size in self.sizes}
        self._compare = compare
        self._known: dict[Any, _Known] = {}

    def faster(self, layer: Layer, rank: int, form: Form = None) -> bool:
        """Whether a layer is faster at a rank than dense."""
        known = self._of(layer, form)
        if rank <= known.faster:
            return True
        if known.slower is not None and rank >= known.slower:
            return False
        if not self._measured(layer, rank, form):
            known.slower = rank
            return False
        known.faster = rank
        return True

    def limit(self, layer: Layer, rank: int, form: Form = None) -> int:
        """The largest rank up to one that is faster than dense, by bisection; 0 if none is."""
        low, high = self._of(layer, form).faster, rank + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.faster(layer, middle, form) else (low, middle)
        return low

    def why(self, layer: Layer, form: Form = None) -> str:
        """How much slower the least rank is that was measured to be slower, in words."""
        known = self._of(layer, form)
        if known.slower is None:
            return ""
        ratio, size = known.ratios[known.slower]
        return f"rank {known.slower} takes {ratio:.2f} times the dense layer's time at batch {size}"

    def ratio(self, layer: Layer, rank: int, form: Form = None) -> float | None:
        """Time of a rank relative to the dense layer, for the size of a batch where it is largest; None where it was
        not measured, as a neighboring rank told.
        """
        found = self._of(layer, form).ratios.get(rank)
        return None if found is None else found[0]

    def _of(self, layer: Layer, form: Form) -> _Known:
        module = layer.modules[0]
        shapes = tuple(tuple(x.shape) for size in self.sizes for x in pytree.tree_leaves(self._args[size][layer.path]))
        weight = module.weight
        assert isinstance(weight, Tensor)
        key = (type(module).__name__, module.extra_repr(), weight.dtype, form, shapes)
        return self._known.setdefault(key, _Known())

    def _measured(self, layer: Layer, rank: int, form: Form) -> bool:
        """Whether a rank is faster for each size of a batch; the largest ratio is kept."""
        dense, worst, faster = layer.modules[0], (0.0, 0), True
        low = low_rank_like(dense, rank, form)
        for size in self.sizes:
            found = self._compare(dense, low, self._args[size][layer.path])
            worst = max(worst, (found.ratio, size))
            if not found.faster:
                faster, worst = False, (found.ratio, size)
                break
        self._of(layer, form).ratios[rank] = worst
        return faster
