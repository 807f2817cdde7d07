"""A matrix to be learned."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from eckart.data.files.reading import open_matrix
from eckart.data.sparse_entries import drawn, entries_at, nonzero_places
from eckart.linalg.blocks import Blocked
from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense, Operator, Sparse
from eckart.linalg.random import stream

Made = TypeVar("Made")


class MatrixData(LightningDataModule):
    """A target, and for completion the mask of its observed entries.

    NaN marks an entry that is missing. Completion alone takes a target with such entries, and sees none of them.

    Args:
        source: Makes the target, shape ``(m, n)``, from its own parameters; from ``seed`` too if it has such a one. It
            may be sparse, and stays so, or in blocks, for methods that ask for products alone.
        scale: The target is multiplied by this; not 0.
        observed: Fraction of the entries that completion sees, in (0, 1], or a file of a matrix that is not 0 where
            an entry is observed; of a target with missing entries the fraction is one of those that are there, and the
            mask chooses among them. None for the mask that the data bring; where they bring none, all entries that are
            there if some are missing, or else half.
        own_mask: Mask that belongs to the target, not 0 where an entry is observed, shape ``(m, n)``.
        seed: Draws the observed entries.
        **parameters: Parameters of ``source``, such as ``rows``.

    Raises:
        ValueError: For a scale of 0, a fraction outside (0, 1], or a mask of another shape.
    """

    def __init__(
        self,
        source: Callable[..., Tensor | Blocked | Sparse],
        *,
        scale: float = 1.0,
        observed: float | str | None = None,
        own_mask: Tensor | Sequence[Sequence[int]] | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if scale == 0 or not math.isfinite(scale):
            raise ValueError(f"data.scale must be finite and not 0. Found {scale}.")
        self._source = bound(source, seed, parameters)
        self._scale, self._observed, self._own_mask, self._seed = scale, observed, own_mask, seed
        self.target = torch.empty(0, 0)
        self._name = repr(str(parameters["path"])) if "path" in parameters else "the target"
        # Entries that are not missing; None where none is.
        self._known: Tensor | None = None
        self._stored: Blocked | Sparse | None = None
        self._listed: Entries | None = None
        self._drawn_mask: Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Make the target."""
        made = self._source()
        if isinstance(made, Blocked):
            made.scale, self._stored = self._scale, made
        elif isinstance(made, Sparse):
            self._stored = made if self._scale == 1 else Sparse(made.matrix * self._scale)
        else:
            self.target = made if self._scale == 1 else made * self._scale
            known = ~self.target.isnan()
            self._known = None if known.all() else known

    @property
    def image(self) -> tuple[int, int] | None:
        """Rows and columns of the image that a row of the target is; None where it is none."""
        return None

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from, and all that it sees.

        Args:
            needs: ``target``: the target; ``entries``: the observed entries alone; ``images``: an operator that gives
                images.

        Raises:
            ValueError: If a target in blocks is asked for its entries, or one with missing entries for anything else.
        """
        if needs == "entries":
            return {"entries": self.entries()}
        if self._known is not None:
            row, col = (~self._known).nonzero()[0].tolist()
            found = f"{int((~self._known).sum())} NaN, the first in row {row + 1}, column {col + 1} (counted from 1)"
            law = f"Cannot read {self._name}: every entry must be finite"
            raise ValueError(f"{law}. Found {found}; method=completion takes them as missing.")
        return {"operator" if needs == "images" else "target": self.operator()}

    def operator(self) -> Operator:
        """The target as it is measured against."""
        return Dense(self.target) if self._stored is None else self._stored

    @property
    def is_sparse(self) -> bool:
        """Whether the target is sparse: what completion observes of it is then a list, and no mask."""
        return isinstance(self._stored, Sparse)

    @property
    def has_missing(self) -> bool:
        """Whether some entries of the target are missing: nothing but the others can then be measured."""
        return self._known is not None

    def held_out(self) -> Entries:
        """The entries of a target with missing ones that are there, and that completion does not observe."""
        return Entries.of_matrix(self.target, ~self.mask())

    def entries(self) -> Entries:
        """The entries that completion observes."""
        if isinstance(self._stored, Blocked):
            found = "×".join(map(str, self._stored.shape))
            raise ValueError(f"method=completion needs a target in memory. Found {found}, which is read in blocks.")
        if isinstance(self._stored, Sparse):
            if self._listed is None:
                self._listed = entries_at(self._stored, self._places(self._stored.shape))
            return self._listed
        return Entries.of_matrix(self.target, self.mask())

    def _places(self, shape: tuple[int, int]) -> Tensor:
        """Places of the observed entries of a sparse target, whose zeros are entries too, in row-major order."""
        if not isinstance(self._observed, str):
            share = 0.5 if self._observed is None else _require_share(self._observed)
            return drawn(shape, share, self._seed)
        mask = _read_mask(self._observed)
        _require_shape(tuple(mask.shape), shape)
        return nonzero_places(mask)

    def mask(self) -> Tensor:
        """Which entries completion observes, boolean, shape ``(m, n)``."""
        if self._drawn_mask is None:
            self._drawn_mask = self._mask()
        return self._drawn_mask

    def _mask(self) -> Tensor:
        observed, known = self._observed, self._known
        if isinstance(observed, str):
            found = _read_mask(observed)
            mask = (found if isinstance(found, Tensor) else found.dense()[0]) != 0
        elif observed is None and self._own_mask is not None:
            mask = torch.as_tensor(self._own_mask) != 0
        elif observed is None and known is not None:
            return known
        else:
            return _draw_mask(self.target.shape, 0.5 if observed is None else observed, self._seed, known)
        _require_shape(tuple(mask.shape), tuple(self.target.shape))
        return mask if known is None else mask & known


def bound(source: Callable[..., Made], seed: int, parameters: Mapping[str, Any]) -> Callable[[], Made]:
    """A source with its parameters, and with the seed if it has a parameter of that name.

    Args:
        source: Any callable.
        seed: The seed.
        parameters: Parameters by name.

    Raises:
        ValueError: If the source has no parameter of such a name.

    Example:
        >>> bound(lambda rows, seed: (rows, seed), 7, {"rows": 3})()
        (3, 7)
    """
    accepted = inspect.signature(source).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return functools.partial(source, **parameters)
    for name in parameters:
        if name not in accepted:
            found = ", ".join(accepted) or "none"
            raise ValueError(f"data.{name} must be a parameter of the source, which has {found}. Found {name}.")
    return functools.partial(source, **parameters, **({"seed": seed} if "seed" in accepted else {}))


def _draw_mask(shape: torch.Size, fraction: float, seed: int, known: Tensor | None) -> Tensor:
    _require_share(fraction)
    places = torch.arange(shape.numel()) if known is None else known.flatten().nonzero()[:, 0]
    mask = torch.zeros(shape.numel(), dtype=torch.bool)
    count = max(1, round(fraction * len(places)))
    mask[places[torch.randperm(len(places), generator=stream(seed, "observed"))[:count]]] = True
    return mask.view(shape)


def _read_mask(path: str) -> Tensor | Sparse:
    mask = open_matrix(Path(path))
    if isinstance(mask, Blocked):
        raise ValueError(f"A mask must fit into memory. Found {'×'.join(map(str, mask.shape))}.")
    if isinstance(mask, Tensor) and mask.isnan().any():
        raise ValueError(f"A mask must have no missing entry. Found {int(mask.isnan().sum())} NaN in {path!r}.")
    return mask


def _require_share(fraction: float) -> float:
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"data.observed must be a fraction in (0, 1], or a mask file. Found {fraction}.")
    return fraction


def _require_shape(mask: tuple[int, ...], target: tuple[int, ...]) -> None:
    if mask != target:
        found, wanted = "×".join(map(str, mask)), "×".join(map(str, target))
        raise ValueError(f"The mask must have the shape of the target, {wanted}. Found {found}.")
