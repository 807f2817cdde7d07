"""Laws of the keys of a config, as sentences: from the default, the comment behind it, and the signature."""

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from eckart.config import type_law

AS_DESCRIBED = "As described."
"""Law of a key of which neither the default nor the signature says more than its meaning."""
_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "text", types.NoneType: "null"}


def law_of(group: str, value: Any, comment: str, kind: Any) -> str:
    """Law of a key, as a sentence.

    Args:
        group: The group that it is in; optimizers and schedules have no negative numbers.
        value: Its default.
        comment: What stands behind it in its file; words between bars are all that it may be.
        kind: Type of the argument that it becomes, where the signature says it.

    Example:
        >>> law_of("optimizer", 0.1, "", None), law_of("data", "${seed}", "", None)
        ('A number, not negative.', 'As of `seed`.')
    """
    if value == "???":
        return "Text, which must be given."
    if choices := choices_of(comment):
        named = ", ".join(f"`{choice}`" for choice in choices[:-1])
        return f"{named} or `{choices[-1]}`{', or null' if value is None else ''}."
    if isinstance(value, str) and (repeated := re.fullmatch(r"\$\{([\w.]+)\}", value)):
        return f"As of `{repeated[1]}`."
    if isinstance(value, bool | int | float | list):
        positive = group in ("optimizer", "schedule") and not isinstance(value, bool | list)
        return sentence(stated(type(value)) + (", not negative" if positive else ""))
    if isinstance(value, dict):
        return "Keys and values."
    if value is None or " | " in comment:
        return of_annotation(kind)
    return "Text."


def of_annotation(kind: Any) -> str:
    """Law of a type that a signature states.

    Example:
        >>> of_annotation(int | None), of_annotation(str | Sequence[int])
        ('An integer, or null.', 'Text, or a list.')
    """
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    lists = (Sequence, list, tuple)
    said = [_KINDS.get(part) or ("a list" if typing.get_origin(part) in lists else "") for part in parts]
    if not all(said):
        return AS_DESCRIBED
    law = ", or ".join(said)
    return f"{law[0].upper()}{law[1:]}."


def stated(kind: Any) -> str:
    """Law of a type, in the words of the error that a wrong one gives."""
    law = type_law("", kind, None).removeprefix(" must be ").partition(". Found")[0]
    return law[0].upper() + law[1:]


def choices_of(comment: str) -> list[str]:
    """Words that a comment separates by bars; none where one of the parts is more than a word and what it means.

    Example:
        >>> choices_of("auto: the fastest | exact"), choices_of("of two: mean | last")
        (['auto', 'exact'], ['mean', 'last'])
        >>> choices_of("paper | the widths of the layers")
        []
    """
    first, *others = comment.split(" | ")
    heads = [re.fullmatch(r"(?:[^|]*: )?(\w+)", first) or re.fullmatch(r"(\w+)[,:].*", first)]
    heads += [re.fullmatch(r"(\w+)(?:[,:].*)?", part) for part in others]
    return [head[1] for head in heads if head is not None] if others and all(heads) else []


def sentence(text: str) -> str:
    """A text that ends with a period."""
    text = text.strip()
    return text if not text or text.endswith((".", "?")) else f"{text}."
