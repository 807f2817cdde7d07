"""Nested values that W&B's records change piece by piece: a config, a summary."""

from collections.abc import Iterable
from typing import Any

from eckart.tracking.items import VALUE, Names, Path, loaded, parsed


class Tree:
    """Nested mappings, as the items of records set and remove what is in them.

    A summary is set anew with each row of a history. Items are kept as bytes by name, and only the last of a name is
    decoded.

    Attributes:
        unread: Values that are no JSON, which are left out.
    """

    def __init__(self) -> None:
        self.unread = 0
        self._names = Names()
        self._tree: dict[str, Any] = {}
        self._latest: dict[bytes, bytes] = {}

    def update(self, items: Iterable[bytes]) -> None:
        """Set values."""
        latest = self._latest
        for item in items:
            head = item.partition(VALUE)[0]
            # The last one that is set comes last: a name can be that of a mapping around another one.
            if head in latest:
                del latest[head]
            elif self._names(head) is None:
                self._decode()
                self._set([item])
                continue
            latest[head] = item

    def remove(self, items: Iterable[bytes]) -> None:
        """Remove values, and what is inside them."""
        self._decode()
        for path, _ in parsed(items):
            drop(self._tree, path)

    def finished(self) -> dict[str, Any]:
        """The values, without what W&B keeps for itself."""
        self._decode()
        return {name: value for name, value in self._tree.items() if name != "_wandb"}

    def _decode(self) -> None:
        self._set(self._latest.values())
        self._latest.clear()

    def _set(self, items: Iterable[bytes]) -> None:
        for path, text in parsed(items):
            try:
                put(self._tree, path, loaded(text))
            except ValueError:
                self.unread += 1


def put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Set a value at a path of nested mappings; what is on the way and no mapping is replaced.

    Example:
        >>> tree = {"a": 1}
        >>> put(tree, ("a", "b"), 2)
        >>> tree
        {'a': {'b': 2}}
    """
    *outer, last = path
    for name in outer:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[last] = value


def drop(tree: dict[str, Any], path: Path) -> None:
    """Remove what is at a path, if anything is."""
    *outer, last = path
    for name in outer:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            return
        tree = inner
    tree.pop(last, None)
