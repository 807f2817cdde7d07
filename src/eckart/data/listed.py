"""Entries that were given as a list, as data of a fit."""

from typing import Any

from eckart.linalg.entries import Entries


class ListedData:
    """Observed entries of a matrix, all of which training sees.

    Args:
        entries: The entries.

    Example:
        >>> import torch
        >>> entries = Entries.of_matrix(torch.tensor([[1.0, torch.nan]]))
        >>> ListedData(entries).supply("entries")["entries"] is entries
        True
    """

    def __init__(self, entries: Entries) -> None:
        self.entries = entries

    def supply(self, needs: str) -> dict[str, Any]:
        """The entries.

        Raises:
            ValueError: If ``needs`` is not ``entries``.
        """
        if needs != "entries":
            raise ValueError("Entries of a list can be learned from by method='completion'. Found another method.")
        return {"entries": self.entries}
