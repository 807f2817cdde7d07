"""Packages that Lightning imports whole for a class or two: the rest is executed when it is first asked for.

Measured with ``python -X importtime -c "import pytorch_lightning"``: the ``__init__`` of ``torchmetrics`` imports all
metrics there are, and with them torchvision and SciPy's signal processing; the plots of its metrics import matplotlib;
and ``torch._dynamo``, the compiler of torch, is imported for the class of compiled modules alone. Without the three,
Lightning takes a tenth of the time. ``torch.utils.flop_counter``, for summaries of models, imports triton where that is
installed, which from version 3.9 on complains at the end of every process.
"""

import contextlib
import functools
import gc
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, ModuleType
from typing import Any

_LOCK = "_eckart_lock"
_COMPILER = "torch._dynamo"
# New objects between two collections, until the imports are done; of Python itself it is 700.
_MANY = 100_000
# What it was, until it is that again.
_usual: list[tuple[int, int, int]] = []


def install() -> None:
    """Defer the packages in this process that are not imported yet, and collect garbage seldom until :func:`kept`.

    For processes of the command line, which are ours. ``import torchmetrics`` then gives a package that executes its
    own ``__init__`` at the first name besides those that Lightning takes of it; nothing of it is missing.

    Example:
        >>> install()
        >>> import torchmetrics
        >>> torchmetrics.MeanMetric.__name__
        'MeanMetric'
    """
    if not _installed():
        sys.meta_path.insert(0, _Finder())
        _usual.append(gc.get_threshold())
        gc.set_threshold(_MANY)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Import packages, whose objects stay: the garbage collector does not look through them, then or later.

    Each of its searches through all that torch and Lightning make takes a seventh of a second. In a process that did
    not call :func:`install`, nothing is changed.

    Example:
        >>> with kept():
        ...     import torch
    """
    if not _usual:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*_usual.pop())
        gc.enable()


def _installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.startswith(f"{_COMPILER}."):
            return _part_of_compiler(name)
        if name not in _TAKEN:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Makes a :class:`_Deferred` module of what another loader would execute."""

    def __init__(self, whole: Loader) -> None:
        self._whole = whole

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._whole.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._whole
        module.__dict__[_LOCK] = threading.RLock()
        module.__class__ = _Deferred
        module.__dict__.update(_TAKEN[module.__name__](module))


class _Deferred(ModuleType):
    """A module that is not executed yet."""

    def __getattr__(self, name: str) -> Any:
        # Those who look through all modules ask for names like these.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _execute(self)
        return getattr(self, name)


class _Executed(Loader):
    """Gives a module that was executed with its package."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _execute(module: ModuleType, *, wait: bool = True) -> None:
    lock = module.__dict__[_LOCK]
    if not lock.acquire(blocking=wait):
        return
    try:
        if type(module) is _Deferred:
            # From now on, what is not bound yet is missing, as in any other module that is being executed.
            module.__class__ = ModuleType  # type: ignore[assignment]
            assert module.__spec__ is not None and module.__spec__.loader is not None
            try:
                module.__spec__.loader.exec_module(module)
            except BaseException:
                module.__class__ = _Deferred
                raise
    finally:
        lock.release()


def _part_of_compiler(name: str) -> ModuleSpec | None:
    """Execute the compiler before a part of it; None where that is as usual, since it is executed or begun."""
    whole = sys.modules.get(_COMPILER)
    if type(whole) is not _Deferred:
        return None
    # This thread holds the lock on the import of the part, which another one that executes the package may wait for.
    _execute(whole, wait=False)
    # The part as well, in most cases; it must not be executed again.
    part = sys.modules.pop(name, None)
    return None if part is None else ModuleSpec(name, _Executed(part), is_package=hasattr(part, "__path__"))


def _of_metrics(package: ModuleType) -> Mapping[str, Any]:
    # In the order in which the package itself would import them.
    package.__dict__["_logger"] = logging.getLogger(package.__name__)
    parts = {"__version__": "__about__", "Metric": "utilities.checks", "MetricCollection": "collections"}
    return {name: getattr(importlib.import_module(f"{package.__name__}.{part}"), name) for name, part in parts.items()}


def _of_plots(module: ModuleType) -> Mapping[str, Any]:
    def plot_single_or_multi_val(*args: Any, **kwargs: Any) -> Any:
        _execute(module)
        return module.plot_single_or_multi_val(*args, **kwargs)

    # What it has where there is no matplotlib.
    types = {"_AX_TYPE": object, "_PLOT_OUT_TYPE": tuple[object, object]}
    return {**types, "plot_single_or_multi_val": plot_single_or_multi_val}


def _of_counter(module: ModuleType) -> Mapping[str, Any]:
    def FlopCounterMode(*args: Any, **kwargs: Any) -> Any:
        _execute(module)
        return module.FlopCounterMode(*args, **kwargs)

    return {"FlopCounterMode": FlopCounterMode}


def _of_compiler(module: ModuleType) -> Mapping[str, Any]:
    def disable(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(fn, FunctionType):
            _execute(module)
            return module.disable(fn, *args, **kwargs)
        found: list[Callable[..., Any]] = []

        @functools.wraps(fn)
        def called(*own: Any, **named: Any) -> Any:
            # While nothing can be compiled, there is nothing to switch off.
            if not found and module.disable is not disable:
                found.append(module.disable(fn, *args, **kwargs))
            return (found[0] if found else fn)(*own, **named)

        return called

    def graph_break(*args: Any, **kwargs: Any) -> None:
        # Optimizers call it at each step.
        if module.graph_break is not graph_break:
            module.graph_break(*args, **kwargs)

    class OfModules(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            kind = module.OptimizedModule
            return kind is not OptimizedModule and isinstance(instance, kind)

        def __subclasscheck__(cls, subclass: type) -> bool:
            kind = module.OptimizedModule
            return subclass is cls or (kind is not OptimizedModule and issubclass(subclass, kind))

    class OptimizedModule(metaclass=OfModules):
        """Stands for the class of compiled modules, of which there are none before the compiler is executed."""

    return {"disable": disable, "graph_break": graph_break, "OptimizedModule": OptimizedModule}


# What is taken of a module while it is deferred.
_TAKEN: Mapping[str, Callable[[ModuleType], Mapping[str, Any]]] = {
    "torchmetrics": _of_metrics,
    "torchmetrics.utilities.plot": _of_plots,
    "torch.utils.flop_counter": _of_counter,
    _COMPILER: _of_compiler,
}
