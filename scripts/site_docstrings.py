"""What docstrings and signatures say of the keys of a config: they are arguments of a function or a class."""

import importlib
import inspect
import re
from typing import Any


def documented_arguments(called: object) -> dict[str, str]:
    """What the docstring of one of our own functions or classes, or of a base, says of each argument or attribute.

    Example:
        >>> from eckart.linalg.svd import truncated_svd
        >>> documented_arguments(truncated_svd)["rank"]
        'Number of singular triplets kept, `1 <= rank <= min(m, n)`.'
    """
    found: dict[str, str] = {}
    family = called.__mro__ if inspect.isclass(called) else (called,)
    for member in family:
        if not str(getattr(member, "__module__", "")).startswith("eckart."):
            continue
        text = inspect.cleandoc(member.__doc__ or "")
        for section in re.findall(r"^(?:Args|Attributes):\n((?: +.*\n?|\n)+)", text, re.MULTILINE):
            for name, said in re.findall(r"^ {4}(\w+): ((?:.*\n?)(?: {5,}.*\n?)*)", section, re.MULTILINE):
                found.setdefault(name, markdown(" ".join(said.split())))
    return found


def refused_by(called: object) -> list[str]:
    """What the docstring of a function or class says that is refused; empty where it says nothing."""
    text = inspect.cleandoc(getattr(called, "__doc__", None) or "") if called is not None else ""
    found = re.search(r"^Raises:\n(?: .*\n)*? {4}ValueError: ((?:.*\n?)(?: {5,}.*\n?)*)", text, re.MULTILINE)
    return [markdown(" ".join(found[1].split()))] if found else []


def markdown(text: str) -> str:
    """A text of a docstring as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def escaped(text: str) -> str:
    r"""Words as Markdown shows them, with pages of ``docs/`` as links; what stands in backticks is left.

    Example:
        >>> escaped("model._target_= or `a_b`, see docs/rank.md")
        'model.\\_target\\_= or `a_b`, see [docs/rank.md](../rank.md)'
    """
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*_<])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"docs/(\w+\.md)", r"[docs/\1](../\1)", part) for part in parts[::2]]
    return "".join(parts)


def named(dotted: str) -> object:
    """One of our own functions or classes by its dotted name; None for a name of another package."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name) if module.startswith("eckart.") else None


def annotations(called: object) -> dict[str, Any]:
    """Types of the arguments of one of our own functions or classes, and of its bases."""
    found: dict[str, Any] = {}
    for member in called.__mro__ if inspect.isclass(called) else (called,):
        function = member.__dict__.get("__init__") if inspect.isclass(member) else member
        if inspect.isfunction(function) and function.__module__.startswith("eckart."):
            found = {**function.__annotations__, **found}
    return found
