"""Second moments of the inputs of layers, in one pass over the data, without keeping an activation."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from eckart.compression.counting import calling_layers
from eckart.compression.layers import Layer

Forward = Callable[[nn.Module, Any], Any]
# Numbers of unfolded inputs that are made at once.
CHUNK = 2**24


class Moments:
    """Mean and covariance of the inputs of one layer, streamed in float64.

    Sums are taken about the mean of the first batch, so that a large mean does not drown a small variance.

    Attributes:
        rows: Inputs seen: of a linear layer vectors, of a convolution patches, of an embedding tokens.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._shift: Tensor | None = None
        self._sum: Tensor
        self._squares: Tensor

    def add(self, module: nn.Module, x: Tensor) -> None:
        """Take in the input of one call of the layer.

        Args:
            module: The dense layer.
            x: Its input.
        """
        if not x.numel():
            return
        if isinstance(module, nn.Embedding):
            self._add_counts(torch.bincount(x.detach().flatten(), minlength=module.num_embeddings))
            return
        for rows in inputs_of(module, x.detach()):
            self._add_rows(rows)

    def _add_counts(self, counts: Tensor) -> None:
        self.rows += int(counts.sum())
        self._sum = counts.double() + (0 if self._shift is None else self._sum)
        self._shift = torch.zeros(())

    def _add_rows(self, rows: Tensor) -> None:
        if self._shift is None:
            self._shift = rows.mean(-2, keepdim=True)
            self._sum = torch.zeros_like(self._shift)
            self._squares = rows.new_zeros(*rows.shape[:-2], rows.shape[-1], rows.shape[-1])
        rows = rows - self._shift
        self.rows += rows.shape[-2]
        self._sum += rows.sum(-2, keepdim=True)
        self._squares += rows.mT @ rows

    @property
    def finite(self) -> bool:
        """Whether no input had a NaN or an infinity, or overflowed."""
        return self._shift is None or bool(torch.isfinite(self._sum).all())

    def mean(self) -> Tensor:
        """Mean of the inputs, ``(n,)`` or ``(groups, n)``; of an embedding the share of each token, ``(m,)``."""
        if self._sum.dim() == 1:
            return self._sum / self.rows
        assert self._shift is not None
        return (self._shift + self._sum / self.rows).squeeze(-2)

    def covariance(self) -> Tensor:
        """Covariance of the inputs, ``(n, n)`` or ``(groups, n, n)``."""
        shift = self._sum / self.rows
        return self._squares / self.rows - shift.mT * shift

    def second(self) -> Tensor:
        """Second moment ``E[x xᵀ]`` of the inputs, of the shape of the covariance."""
        mean = self.mean()[..., None]
        return self.covariance() + mean * mean.mT


def inputs_of(module: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """What the weight of a layer is multiplied with, in float64.

    Args:
        module: A linear layer or a convolution.
        x: Its input.

    Yields:
        Parts of the rows, shape ``(rows, n)``, or ``(groups, rows, n)`` for a convolution of several groups; entries
        of a patch are in the order of the weight, ``(in / groups, *kernel)``.

    Example:
        >>> [rows.shape for rows in inputs_of(nn.Conv2d(4, 6, 3), torch.ones(2, 4, 5, 5))]
        [torch.Size([18, 36])]
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        rows = x.reshape(-1, x.shape[-1])
        size = max(CHUNK // max(rows.shape[1], 1), 1)
        yield from (part.double() for part in rows.split(size) if len(part))
        return
    dims = len(module.kernel_size)
    x = x if x.dim() == dims + 2 else x[None]
    sides: list[int] = list(module._reversed_padding_repeated_twice)
    if any(sides):
        x = F.pad(x, sides, "constant" if module.padding_mode == "zeros" else module.padding_mode)
    kernel, steps, dilation = tuple(module.kernel_size), tuple(module.stride), tuple(module.dilation)
    if dims == 1:
        x, kernel, steps, dilation = x[..., None, :], (1, *kernel), (1, *steps), (1, *dilation)
    width = module.in_channels * math.prod(kernel)
    places = math.prod(
        (size - gap * (length - 1) - 1) // step + 1
        for size, length, step, gap in zip(x.shape[2:], kernel, steps, dilation, strict=True)
    )
    for part in x.split(max(CHUNK // (width * places), 1)):
        patches = F.unfold(part.double(), kernel, dilation, 0, steps)
        rows = patches.unflatten(1, (module.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
        yield rows if module.groups > 1 else rows[0]


def plain_forward(model: nn.Module, batch: Any) -> Any:
    """Call a model with a batch: a tensor, a mapping of keyword arguments, or a sequence that starts with the input.

    Raises:
        ValueError: If the model does not take the keyword arguments of a mapping.

    Example:
        >>> plain_forward(nn.Identity(), ("input", "label"))
        'input'
    """
    if isinstance(batch, Mapping):
        try:
            inspect.signature(model.forward).bind(**batch)
        except TypeError as error:
            law = f"A batch that is a mapping holds the arguments of {type(model).__name__} by their names"
            way = f"else say how it is called: forward=lambda model, batch: model(batch[{next(iter(batch), 'x')!r}])"
            raise ValueError(f"{law}; {way}. Found {', '.join(map(str, batch)) or 'none'}: {error}.") from error
        return model(**batch)
    return model(batch[0] if isinstance(batch, list | tuple) else batch)


def samples_of(batch: Any) -> int:
    """Samples of a batch: the length of its first tensor.

    Example:
        >>> samples_of({"x": torch.ones(5, 3), "scale": 2.0})
        5
    """
    return next((len(x) for x in pytree.tree_leaves(batch) if isinstance(x, Tensor) and x.dim()), 1)


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple) and not hasattr(batch, "_fields"):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def gather(
    model: nn.Module, layers: Sequence[Layer], inputs: Iterable[Any], forward: Forward = plain_forward
) -> tuple[dict[str, Moments], Any]:
    """Moments of the inputs of layers, from one pass of data through a model.

    The pass is made in evaluation mode without gradients. Every call of a layer counts, also several in one pass.

    Args:
        model: Any module.
        layers: Layers of it.
        inputs: Batches, such as a ``DataLoader``.
        forward: Calls the model with a batch.

    Returns:
        The moments by the path of each different module, and the first batch.

    Raises:
        ValueError: If there is no batch, an input of a layer is not finite, or no input reaches a layer.
    """
    names = {module: path for layer in layers for path, module in zip(layer.module_paths, layer.modules, strict=True)}
    moments = {path: Moments() for path in names.values()}

    def take(module: nn.Module, args: Any, kwargs: Any) -> None:
        path = names[module]
        moments[path].add(module, args[0] if args else next(iter(kwargs.values())))
        if not moments[path].finite:
            raise ValueError(f"Inputs must be finite. Found NaN or infinity in batch {number}, at layer {path!r}.")

    handles = [module.register_forward_pre_hook(take, with_kwargs=True) for module in names]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    number, first = -1, None
    try:
        with calling_layers(model), torch.no_grad():
            for number, batch in enumerate(inputs):
                moved = to_device(batch, device)
                first = moved if number == 0 else first
                forward(model, moved)
    finally:
        for handle in handles:
            handle.remove()
    if number < 0:
        raise ValueError("inputs must give at least one batch. Found none.")
    if missed := [path for path, found in moments.items() if not found.rows]:
        law = "Inputs must reach every layer that is to be factorized, or exclude= must name it"
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        raise ValueError(f"{law}. Found no input at {', '.join(map(repr, missed[:3]))}{more}.")
    return moments, first
