"""Methods, optimizers, schedules and rules by name, with the settings that the command line gives them."""

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eckart import config


@dataclass(frozen=True)
class Choice:
    """An option of a group of the config, such as ``optimizer=adam``.

    Attributes:
        make: The class or function that it names; None where it names none.
        settings: Its keyword arguments.
        needs: What a method is built from: ``images``, ``target`` or ``entries``.
    """

    make: Callable[..., Any] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""

    def partial(self) -> Callable[..., Any] | None:
        """What it names, with its settings."""
        return None if self.make is None else functools.partial(self.make, **self.settings)


def matrix_methods() -> list[str]:
    """Names of the methods that learn a matrix.

    Example:
        >>> matrix_methods()
        ['bottleneck', 'completion', 'factorization', 'factorized_linear', 'svd']
    """
    others = ("labels", config.NETS)
    return [name for name in config.options("method") if config.settings_of("method", name).needs not in others]


def choose(
    method: str,
    optimizer: str | Callable[..., Any] | None,
    schedule: str | Callable[..., Any] | None,
    own: Any,
    *,
    selection: str | None = None,
) -> dict[str, Choice]:
    """Look a method, its optimizer, its schedule and a rule up, and share the user's settings out among them.

    Args:
        method: Name of a method that learns a matrix.
        optimizer: Name of an optimizer, or a callable that makes one; None for the one that comes with the method.
        schedule: Name of a schedule, or a function of the share of the training that is done; None for none.
        own: The user's settings by name, of any of them.
        selection: Name of the rule that chooses the rank; None where the rank is given.

    Returns:
        Each by its group: ``method``, ``optimizer``, ``schedule`` and, where there is a rule, ``selection``.

    Raises:
        ValueError: For an unknown name, a value of the wrong type, or choices that do not fit together.

    Example:
        >>> chosen = choose("factorization", "adam", None, {"lr": 0.1, "max_steps": 5})
        >>> chosen["optimizer"].settings["lr"], chosen["method"].settings["max_steps"]
        (0.1, 5)
    """
    _known("method", method, matrix_methods())
    computes = config.chosen_by(method) == "none"
    if computes and (optimizer is not None or schedule is not None):
        raise ValueError(f"method={method!r} computes and is not trained. Found an optimizer or a schedule.")
    names: dict[str, str | Callable[..., Any]] = {
        "method": method,
        "optimizer": config.chosen_by(method) if optimizer is None else optimizer,
        "schedule": "constant" if schedule is None else schedule,
    }
    trained = [name for name in config.options("optimizer") if name != "none"]
    _known("optimizer", names["optimizer"], ["none"] if computes else trained)
    _known("schedule", names["schedule"], config.options("schedule"))
    if selection is not None:
        _known("selection", selection, config.options("selection"))
        names["selection"] = selection
    found = {group: _choice(group, name) for group, name in names.items()}
    settings = {group: dict(choice.settings) for group, choice in found.items()}
    for name, value in own.items():
        group = next((group for group in settings if name in settings[group] and name != "rule"), None)
        if group is None:
            every = [known for group in settings for known in settings[group] if known != "rule"]
            raise ValueError(f"Unknown option {name}. {config.nearest(name, every)}")
        settings[group][name] = _checked(name, value, settings[group][name])
    if found["schedule"].make is not None and isinstance(optimizer, str | None) and "lr" not in settings["optimizer"]:
        raise ValueError(f"optimizer={names['optimizer']!r} has no learning rate to schedule. Found {schedule!r}.")
    return {group: Choice(choice.make, settings[group], choice.needs) for group, choice in found.items()}


def _known(group: str, name: Any, options: list[str]) -> None:
    named = group in ("method", "selection")
    if name in options or (callable(name) and not named):
        return
    law = f"{group} must be one of: {', '.join(options)}{'' if named else '; or a callable'}"
    if group == "method" and name in config.options("method"):
        nets = "eckart.factorize makes a model low-rank, and eckart.run runs the command line, with every method"
        raise ValueError(f"{law}, which learn a matrix; {nets}. Found {name!r}, which trains a net.")
    near = difflib.get_close_matches(str(name), options, n=1)
    raise ValueError(f"{law}. Found {name!r}.{f' Did you mean {near[0]}?' if near else ''}")


def _choice(group: str, name: str | Callable[..., Any]) -> Choice:
    if not isinstance(name, str):
        return Choice(name)
    settings = config.plain(config.settings_of(group, name), resolve=False)
    target, needs = settings.pop("_target_", None), settings.pop("needs", "")
    settings.pop("_partial_", None)
    if target is None:
        return Choice(None, settings)
    module, _, attribute = target.rpartition(".")
    return Choice(getattr(importlib.import_module(module), attribute), settings, needs)


def _checked(name: str, value: Any, default: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    kind = type(default)
    fits = isinstance(value, list | tuple) if kind is list else config.is_a(value, kind)
    if isinstance(default, bool | int | float | list) and not fits:
        raise ValueError(config.type_law(name, kind, value))
    return value
