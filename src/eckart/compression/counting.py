"""Parameters and multiply-adds of a model, dense or factorized: the only counter of this package."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

aten = torch.ops.aten


@dataclass(frozen=True)
class LayerCount:
    """What one module has and computes itself, without the modules inside it.

    Attributes:
        kind: Name of its class.
        parameters: Its own parameters; those that an earlier module has as well are not counted again.
        multiply_adds: Multiplications with an addition in one forward pass.
    """

    kind: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Counts:
    """What a model has and computes.

    Attributes:
        parameters: All parameters: each factor, each bias, shared ones once. Buffers are not counted.
        multiply_adds: Multiply-adds of one forward pass; products of matrices and convolutions, nothing elementwise.
        layers: The same of each module that has or computes something itself, by its path in the model.
    """

    parameters: int
    multiply_adds: int
    layers: dict[str, LayerCount]


def count_parameters(model: nn.Module) -> int:
    """Number of parameters: each factor, each bias, shared ones once; no buffers.

    Args:
        model: Any module.

    Returns:
        The number, also of parameters that are frozen.

    Raises:
        ValueError: If a parameter of a lazy module has no shape yet.

    Example:
        >>> count_parameters(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        12
    """
    return sum(_parameters(model).values())


def count(model: nn.Module, inputs: Any) -> Counts:
    """Count the parameters of a model, and the multiply-adds of one forward pass.

    Each product of matrices and each convolution that the pass executes is counted where it is executed, by the shapes
    of its operands, so layers of any class are counted, as are products outside of layers, such as those of attention.
    An addition of a bias, an activation, a normalization and a look-up in an embedding count as 0. The pass runs in
    evaluation mode without gradients; the mode of each module is restored.

    Args:
        model: Any module. Its forward pass must accept the inputs.
        inputs: A tensor, or a tuple of arguments, or a mapping of keyword arguments. Multiply-adds are proportional to
            the batch: give a batch of one for those of one sample.

    Returns:
        The counts, of the whole model and of each module by its path.

    Raises:
        ValueError: If a parameter of a lazy module has no shape yet.

    Note:
        A module that is called twice counts twice. Parameters of a module inside ``nn.MultiheadAttention`` stand under
        its own path, the products under that of the attention, which computes all of them itself.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 20, 5), nn.Flatten(), nn.Linear(11520, 10))
        >>> counts = count(net, torch.ones(1, 1, 28, 28))
        >>> counts.parameters, counts.multiply_adds
        (115730, 403200)
        >>> counts.layers["0"]
        LayerCount(kind='Conv2d', parameters=520, multiply_adds=288000)
    """
    own = _parameters(model)
    computed = _multiply_adds(model, inputs)
    layers = {
        path: LayerCount(type(module).__name__, own[path], computed[path])
        for path, module in model.named_modules()
        if own[path] or computed[path]
    }
    return Counts(sum(own.values()), sum(computed.values()), layers)


def _parameters(model: nn.Module) -> Counter[str]:
    """Parameters of each module itself; a shared one belongs to the first that has it."""
    found: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            law = "A model must have parameters of known shapes to be counted: call it once before"
            raise ValueError(f"{law}. Found {name} without a shape.")
        found[name.rpartition(".")[0]] += parameter.numel()
    return found


def _multiply_adds(model: nn.Module, inputs: Any) -> Counter[str]:
    counting = _Products()
    handles = [handle for path, module in model.named_modules() for handle in counting.follow(path, module)]
    try:
        with evaluating(model), torch.no_grad(), _plain_kernels(), counting:
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return counting.found


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside of the block, and after it for each module the mode that it had.

    Args:
        model: Any module.

    Example:
        >>> dropout = nn.Dropout()
        >>> with evaluating(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def calling_layers(model: nn.Module) -> Iterator[None]:
    """:func:`evaluating`, and torch's encoders call their layers: their fast path gets around hooks and new layers.

    Args:
        model: Any module.

    Example:
        >>> encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        >>> with calling_layers(encoder):
        ...     torch.backends.mha.get_fastpath_enabled()
        False
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(model):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def call(model: nn.Module, inputs: Any) -> Any:
    """The outputs for inputs that are a tensor, a tuple of arguments, or a mapping of keyword arguments.

    Args:
        model: Any module.
        inputs: What it is called with.

    Returns:
        What it returns.

    Example:
        >>> call(nn.Identity(), {"input": 3})
        3
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@contextlib.contextmanager
def _plain_kernels() -> Iterator[None]:
    """Attention and recurrent layers as products of matrices, instead of kernels that are one operation."""
    fast = torch.backends.mha.get_fastpath_enabled()
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [library.enabled for library in libraries]
    torch.backends.mha.set_fastpath_enabled(False)
    for library in libraries:
        library.enabled = False
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for library, value in zip(libraries, enabled, strict=True):
            library.enabled = value


def _matrices(first: Tensor, second: Tensor, *_: Any) -> int:
    """``(…, m, k)`` times ``(…, k, n)``, or times ``(…, k)``."""
    return first.numel() * (second.shape[-1] if second.ndim > 1 else 1)


def _added_matrices(_: Tensor, first: Tensor, second: Tensor, *__: Any) -> int:
    return _matrices(first, second)


def _convolution(x: Tensor, weight: Tensor, *rest: Any, out: Tensor) -> int:
    # Each entry of the weight meets each place of the batch and of the map: of the output, or of the input where the
    # convolution is transposed.
    transposed = rest[4]
    plane = x if transposed else out
    return weight.numel() * plane.shape[0] * math.prod(plane.shape[2:])


_PRODUCTS: dict[Any, Callable[..., int]] = {
    aten.mm: _matrices,
    aten.bmm: _matrices,
    aten.mv: _matrices,
    aten.dot: _matrices,
    aten.addmm: _added_matrices,
    aten.baddbmm: _added_matrices,
    aten.addmv: _added_matrices,
    aten.addbmm: _added_matrices,
}


class _Products(TorchDispatchMode):
    """Counts products for the innermost module whose forward pass is under way."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Marking the method for torch.compile would import all of it: seconds.
        return False

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._inside: list[str] = [""]

    def follow(self, path: str, module: nn.Module) -> Iterator[RemovableHandle]:
        """Know when the module computes."""
        yield module.register_forward_pre_hook(lambda *_: self._inside.append(path))
        yield module.register_forward_hook(lambda *_: self._leave(), always_call=True)

    def _leave(self) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        known = packet in _PRODUCTS or packet is aten.convolution
        if not known and func is not aten.detach.default:
            with self:
                # Such as aten.linear, where a subclass of Tensor or a mode has kept it whole.
                decomposed = func.decompose(*args, **(kwargs or {}))
            if decomposed is not NotImplemented:
                return decomposed
        out = func(*args, **(kwargs or {}))
        if packet is aten.convolution:
            self.found[self._inside[-1]] += _convolution(*args, out=out)
        elif known:
            self.found[self._inside[-1]] += _PRODUCTS[packet](*args)
        return out
