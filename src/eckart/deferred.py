"""A package that Lightning imports whole for two classes: the rest of it is executed when it is first asked for.

The ``__init__`` of ``torchmetrics`` imports all metrics there are, and with them torchvision, the compiler of torch and
SciPy's signal processing: half of the time that it takes to import ``pytorch_lightning``.
"""

import importlib
import logging
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_PACKAGE = "torchmetrics"
_LOCK = "_eckart_lock"
# What Lightning takes of it, and where it is: in the order in which the package itself would import them.
_TAKEN = {"__version__": "__about__", "Metric": "utilities.checks", "MetricCollection": "collections"}


def install() -> None:
    """Defer the package in this process, unless it is imported already.

    For processes of the command line, which are ours. ``import torchmetrics`` then gives a package that executes its
    own ``__init__`` at the first name besides those that Lightning takes of it; nothing of it is missing.

    Example:
        >>> install()
        >>> import torchmetrics
        >>> torchmetrics.MeanMetric.__name__
        'MeanMetric'
    """
    if _PACKAGE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _PACKAGE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Makes a :class:`_Deferred` package of what another loader would execute."""

    def __init__(self, whole: Loader) -> None:
        self._whole = whole

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._whole.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._whole
        module.__dict__.update({_LOCK: threading.RLock(), "_logger": logging.getLogger(_PACKAGE)})
        module.__class__ = _Deferred
        for name, part in _TAKEN.items():
            setattr(module, name, getattr(importlib.import_module(f"{_PACKAGE}.{part}"), name))


class _Deferred(ModuleType):
    """A package whose ``__init__`` is not executed yet."""

    def __getattr__(self, name: str) -> Any:
        # Those who look through all modules ask for names like these.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with self.__dict__[_LOCK]:
            if type(self) is _Deferred:
                # From now on, what is not bound yet is missing, as in any other module that is being executed.
                self.__class__ = ModuleType  # type: ignore[assignment]
                assert self.__spec__ is not None and self.__spec__.loader is not None
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:
                    self.__class__ = _Deferred
                    raise
        return getattr(self, name)
