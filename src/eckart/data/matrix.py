"""A matrix to be learned."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from eckart.data.files.reading import read_matrix
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.random import stream


class MatrixData(LightningDataModule):
    """A target, and for completion the mask of its observed entries.

    Args:
        source: Makes the target, shape ``(m, n)``.
        scale: The target is multiplied by this; not 0.
        observed: Fraction of the entries that completion sees, in (0, 1], or a file of a matrix that is not 0 where
            an entry is observed; None for ``own_mask``, or half of the entries where there is none.
        own_mask: Mask that belongs to the target, rows of zeros and ones.
        seed: Draws the observed entries.
        **parameters: What ``source`` was made from; kept by the config, not used here.

    Raises:
        ValueError: For a scale of 0, a fraction outside (0, 1], or a mask of another shape.
    """

    def __init__(
        self,
        source: Callable[[], Tensor],
        *,
        scale: float = 1.0,
        observed: float | str | None = None,
        own_mask: Sequence[Sequence[int]] | Tensor | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if scale == 0 or not math.isfinite(scale):
            raise ValueError(f"data.scale must be finite and not 0. Found {scale}.")
        self._source, self._scale, self._observed, self._own_mask = source, scale, observed, own_mask
        self._seed = seed
        self.target = torch.empty(0, 0)
        self._drawn_mask: Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Make the target."""
        self.target = self._source() * self._scale

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from, and all that it sees.

        Args:
            needs: ``target``: every entry; ``mask``: the observed entries, and NaN in the place of all others;
                ``images``: an operator that gives images.
        """
        if needs == "mask":
            return {"entries": torch.where(self.mask(), self.target, torch.nan)}
        return {"operator": self.operator()} if needs == "images" else {"target": self.target}

    def operator(self) -> Operator:
        """The target as it is measured against."""
        return Dense(self.target)

    def mask(self) -> Tensor:
        """Which entries completion observes, boolean, shape ``(m, n)``."""
        if self._drawn_mask is None:
            self._drawn_mask = self._mask()
        return self._drawn_mask

    def _mask(self) -> Tensor:
        observed = self._observed
        if isinstance(observed, str):
            mask = read_matrix(Path(observed)) != 0
        elif observed is None and self._own_mask is not None:
            mask = torch.as_tensor(self._own_mask) != 0
        else:
            return _draw_mask(self.target.shape, 0.5 if observed is None else observed, self._seed)
        if mask.shape != self.target.shape:
            found, wanted = "×".join(map(str, mask.shape)), "×".join(map(str, self.target.shape))
            raise ValueError(f"The mask must have the shape of the target, {wanted}. Found {found}.")
        return mask


def _draw_mask(shape: torch.Size, fraction: float, seed: int) -> Tensor:
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"data.observed must be a fraction in (0, 1], or a mask file. Found {fraction}.")
    entries = shape.numel()
    mask = torch.zeros(entries, dtype=torch.bool)
    chosen = torch.randperm(entries, generator=stream(seed, "observed"))[: max(1, round(fraction * entries))]
    mask[chosen] = True
    return mask.view(shape)
