"""Names and values of W&B's records: a path of names, and JSON."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from eckart.tracking.messages import HistoryItem

Path = tuple[str, ...]

# What the value of an item begins with: its field's number and type.
VALUE = b"\x82\x01"
# Name of what says that a mapping is an image, a table, …
TYPE = "_type"
DEPTH, NAMES, TEXT, NAME = 50, 20_000, 20_000, 500
_NAMELESS: Path = ("",)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Names:
    """Paths by the bytes that name them in an item, so that a name is decoded once and not once a row."""

    def __init__(self) -> None:
        self._known: dict[bytes, Path | None] = {}

    def __call__(self, head: bytes) -> Path | None:
        """The path that an item's bytes before :data:`VALUE` name; None if they are no name."""
        if head not in self._known:
            self._known[head] = _named(head)
        return self._known[head]


def _named(head: bytes) -> Path | None:
    # In a long name, the bytes of its length can look like the beginning of a value: what is before them is no message.
    try:
        path = _path(HistoryItem.FromString(head))
    except DecodeError:
        return None
    return None if path == _NAMELESS else path


def _path(item: Any) -> Path:
    return tuple(cleaned_name(name) for name in item.nested_key[:DEPTH] or [item.key])


def joined(path: Path) -> str:
    """A path as one name of bounded length."""
    return "/".join(path)[:NAME]


def parsed(items: Iterable[bytes]) -> Iterator[tuple[Path, bytes]]:
    """Paths and JSON of items, whatever their form; items that are none, or have no name, are left out."""
    for content in items:
        try:
            item = HistoryItem.FromString(content)
        except DecodeError:
            continue
        if (path := _path(item)) != _NAMELESS:
            yield path, item.value_json


def number(value: bytes | str) -> float | None:
    """The number that JSON stands for, with NaN and infinities as W&B writes them; None if it is no number.

    Example:
        >>> number("2.5"), number('"Infinity"'), number("true"), number("[1]")
        (2.5, inf, None, None)
    """
    text = (value.decode(errors="replace") if isinstance(value, bytes) else value).strip('"')
    if text in _SPECIAL:
        return _SPECIAL[text]
    # A long row of digits takes long, and is none of W&B's.
    if len(text) > 400 or len(text) != len(value):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def loaded(text: bytes | str) -> Any:
    """A value from JSON, with the bounds of :func:`cleaned`.

    Raises:
        ValueError: If it is no JSON, or nested too deep to be read.
    """
    try:
        return cleaned(json.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def cleaned(value: Any, depth: int = 0) -> Any:
    r"""A value without what could harm those who show it.

    Texts and lists are cut at :data:`TEXT`, mappings at :data:`NAMES`, nesting at :data:`DEPTH`. Whole numbers beyond
    64 bits become floating point, and halves of surrogate pairs, which no file can hold, question marks.

    Example:
        >>> cleaned({"a": ["\ud800", 10**400]})
        {'a': ['?', inf]}
    """
    if isinstance(value, str):
        return _encodable(value[:TEXT])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if not isinstance(value, dict | list):
        return value
    if depth >= DEPTH:
        return "..."
    if isinstance(value, list):
        return [cleaned(part, depth + 1) for part in value[:TEXT]]
    names = list(value)[:NAMES]
    return {cleaned_name(str(name)): cleaned(value[name], depth + 1) for name in names}


def cleaned_name(name: str | bytes) -> str:
    """A name of bounded length that can be encoded."""
    if isinstance(name, bytes):
        return name[: 4 * NAME].decode(errors="replace")[:NAME]
    return _encodable(name[:NAME])


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def leaves(tree: Mapping[str, Any], outer: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Paths and values of nested mappings; a mapping that has a type, such as an image, is a value.

    Example:
        >>> for path, value in leaves({"a": {"b": 1, "c": {}}, "d": [2], "e": {"_type": "histogram"}}):
        ...     print(path, value)
        ('a', 'b') 1
        ('d',) [2]
        ('e',) {'_type': 'histogram'}
    """
    for name, value in tree.items():
        if isinstance(value, dict) and TYPE not in value:
            yield from leaves(value, (*outer, name))
        else:
            yield (*outer, name), value
