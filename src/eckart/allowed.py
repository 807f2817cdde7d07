"""The allow-list: which classes and functions a config may name.

A ``_target_`` in a config is code that is called. Configs come from command lines, files and results that somebody
else may have written, so every name is held against this list before anything is imported. ``docs/security.md``
states the law for users.
"""

import importlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eckart.printable import printable

SETTING = "ECKART_ALLOW"

_LIGHTNING = tuple(
    f"{package}.{part}"
    for package in ("pytorch_lightning", "lightning.pytorch")
    for part in ("accelerators", "callbacks", "loggers", "plugins", "profilers", "strategies")
)
_TRAINERS = ("pytorch_lightning.Trainer", "lightning.pytorch.Trainer")
_HYDRA = ("hydra._internal.core_plugins", "hydra_plugins")


@dataclass(frozen=True)
class _Law:
    must: str
    modules: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    classes: bool = False
    """Whether the name must begin with a capital letter, as that of a class does."""


# The longest path that a setting lies below decides.
_LAWS = {
    "method": _Law("a method of eckart.methods", ("eckart.methods",), classes=True),
    "data": _Law("a function or class of eckart.data", ("eckart.data",)),
    "model": _Law("a model of eckart.nn", ("eckart.nn",), classes=True),
    "optimizer": _Law("an optimizer of torch.optim or eckart.optim", ("torch.optim", "eckart.optim"), classes=True),
    "schedule": _Law("a schedule of eckart.optim", ("eckart.optim",)),
    "trainer": _Law("part of Lightning", _LIGHTNING, classes=True),
    "trainer._target_": _Law("Lightning's Trainer", names=_TRAINERS),
    "logger": _Law("a logger of Lightning", _LIGHTNING, classes=True),
    "callbacks": _Law("a callback of Lightning or eckart.runs", (*_LIGHTNING, "eckart.runs"), classes=True),
    "hydra.launcher": _Law("a launcher of Hydra", _HYDRA, classes=True),
    "hydra.sweeper": _Law("a sweeper of Hydra", (*_HYDRA, "optuna.samplers"), classes=True),
    "hydra.callbacks": _Law("a callback of Hydra", ("hydra.experimental",), ("eckart.cli.Folders",), classes=True),
    "hydra.job_logging": _Law("a class of logging", ("logging", "colorlog"), classes=True),
    "hydra.hydra_logging": _Law("a class of logging", ("logging", "colorlog"), classes=True),
}
_OTHERS = _Law("a class that eckart's configs name")


def check_target(path: str, what: str) -> None:
    """Refuse a dotted name that a config may not call. Nothing is imported.

    A name is allowed if it is defined directly in a module that the group's law allows, or in one that the user lists
    in the environment variable ``ECKART_ALLOW``. The latter holds names of packages, modules, classes or functions,
    separated by commas. Names that begin with an underscore, and names that are reached through another module's
    imports (``eckart.cli.sys.exit``), are never allowed.

    Args:
        path: The dotted name, such as ``torch.optim.SGD``.
        what: Path of the setting in the config, such as ``optimizer._target_``. It decides which law applies.

    Raises:
        ValueError: If the name is not allowed.

    Example:
        >>> check_target("torch.optim.SGD", "optimizer._target_")
        >>> check_target("torch.nn.Linear", "trainer._target_")
        Traceback (most recent call last):
        ValueError: trainer._target_ must be Lightning's Trainer, or a name that the environment variable ECKART_ALLOW
            lists. Found 'torch.nn.Linear'.
    """
    law = _law(what)
    if path in law.names:
        return
    if any(_defined_in(path, module) for module in law.modules) and (
        not law.classes or path.rpartition(".")[2][:1].isupper()
    ):
        return
    if any(path == opened or _defined_in(path, opened) for opened in _opened()):
        return
    opened = f"or a name that the environment variable {SETTING} lists"
    raise ValueError(f"{what} must be {law.must}, {opened}. Found {printable(path, 200)!r}.")


def whitelist() -> tuple[str, ...]:
    """Every name that any setting may have, as Hydra 1.4 takes them: exact names, and ``package.*`` for all below it.

    Hydra's list knows no settings, so it is wider than the laws that :func:`check_target` holds names to. It is made of
    the same laws, and of the names that the user lists in ``ECKART_ALLOW``.

    Example:
        >>> "eckart.methods.*" in whitelist(), "pytorch_lightning.Trainer" in whitelist()
        (True, True)
    """
    entries = [entry for law in _LAWS.values() for entry in (*(f"{module}.*" for module in law.modules), *law.names)]
    for name in _opened():
        if all(part.isidentifier() for part in name.split(".")):
            entries += [name, f"{name}.*"]
    return tuple(dict.fromkeys(entries))


def imported(path: str, what: str) -> Any:
    """The object that an allowed name stands for.

    Args:
        path: The dotted name.
        what: Path of the setting in the config.

    Raises:
        ValueError: If the name is not allowed, or cannot be imported.

    Example:
        >>> imported("eckart.data.targets.identity", "data.source").__name__
        'identity'
    """
    check_target(path, what)
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        law = f"{what} must name an importable callable, as in package.module.function"
        raise ValueError(f"{law}. Found {path}: {error}.") from error


def _law(what: str) -> _Law:
    parts = what.split(".")
    for end in range(len(parts), 0, -1):
        if (law := _LAWS.get(".".join(parts[:end]))) is not None:
            return law
    return _OTHERS


def _opened() -> list[str]:
    return [name.strip() for name in os.environ.get(SETTING, "").split(",") if name.strip()]


def _defined_in(path: str, module: str) -> bool:
    """Whether a path is a module or package, or one below it, and then one public name."""
    if not path.startswith(f"{module}.") or not all(part.isidentifier() for part in path.split(".")):
        return False
    *packages, name = path.split(".")
    return not name.startswith("_") and _is_module(packages)


def _is_module(parts: list[str]) -> bool:
    # Only the first name is looked up by Python: to look up a later one would import those before it.
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return False
    if spec is None:
        # To import it fails, and says so.
        return True
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    for part in parts[1:]:
        found = [folder / part for folder in folders if (folder / part).is_dir()]
        if not found and not any(any(folder.glob(f"{part}.*")) for folder in folders):
            return False
        folders = found
    return True
