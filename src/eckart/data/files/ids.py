"""Ids of any kind, as numbers from 0."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A whole number whose text is the only one for it, so that as a number it is the same id.
_WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"


@dataclass(frozen=True)
class Order:
    """Ids in order.

    Attributes:
        texts: Text of each id.
        place: Place of each code in that order, int32.
    """

    texts: list[str]
    place: NDArray[np.int32]


class Ids:
    """The ids that have been seen so far.

    Example:
        >>> import polars as pl
        >>> ids = Ids()
        >>> codes = ids.codes(pl.Series(["10", "9", "10"]))
        >>> bool(codes[0] == codes[2]), ids.order().texts
        (True, ['9', '10'])
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def codes(self, texts: Any) -> NDArray[np.int32]:
        """The code of each text of a polars series, in the order in which they came up."""
        import polars as pl

        distinct = texts.unique()
        known = self._known
        codes = pl.Series([known.setdefault(text, len(known)) for text in distinct], dtype=pl.Int32)
        found: NDArray[np.int32] = texts.replace_strict(distinct, codes, return_dtype=pl.Int32).to_numpy()
        return found

    def order(self) -> Order:
        """All ids: by their numbers where all are whole numbers, else by their texts."""
        import polars as pl

        texts = pl.Series(list(self._known), dtype=pl.String)
        key = texts.cast(pl.Int64) if texts.str.contains(_WHOLE).all() else texts
        places = key.arg_sort().to_numpy()
        place = np.empty(len(places), dtype=np.int32)
        place[places] = np.arange(len(places))
        return Order(texts.gather(places).to_list(), place)
