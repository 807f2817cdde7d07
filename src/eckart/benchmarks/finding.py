"""The cases of a module, and those that a command line asks for."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eckart.benchmarks import cases
from eckart.benchmarks.case import Case


@dataclass(frozen=True)
class Group:
    """The cases of one module.

    Attributes:
        name: Last part of the name of the module.
        module: Name of the module, which a worker imports.
        title: First line of its docstring.
        cases: Its cases.
    """

    name: str
    module: str
    title: str
    cases: Sequence[Case]


def group(module: str, *, quick: bool) -> Group:
    """The cases of a module: what its function ``cases(quick)`` gives.

    Args:
        module: Full name of the module.
        quick: Whether the sizes are those of ``--quick``.
    """
    found = importlib.import_module(module)
    title = (found.__doc__ or "").partition("\n")[0].rstrip(".")
    return Group(module.rpartition(".")[2], module, title, list(found.cases(quick)))


def groups(*, quick: bool) -> list[Group]:
    """Every module of the folder ``cases``, in the order of their names."""
    names = sorted(found.name for found in pkgutil.iter_modules(cases.__path__))
    return [group(f"{cases.__name__}.{name}", quick=quick) for name in names]


def chosen(found: Iterable[Group], only: Sequence[str] | None) -> list[tuple[Group, Case]]:
    """The cases that are asked for by their names or by those of their groups, or all that need not be asked for.

    Args:
        found: All groups.
        only: Names; None: all.

    Raises:
        ValueError: If there is no such name.
    """
    every = [(group, case) for group in found for case in group.cases]
    if only is None:
        return [(group, case) for group, case in every if not case.asked_only]
    known = dict.fromkeys(name for group, case in every for name in (group.name, case.name))
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"Did you mean {' or '.join(near)}?" if near else "--list shows them all."
            raise ValueError(f"There is no case or group {name}. {hint}")
    return [(group, case) for group, case in every if {group.name, case.name} & set(only)]
