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

from eckart.data.files.reading import read_matrix
from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.random import stream

Made = TypeVar("Made")


class MatrixData(LightningDataModule):
    """A target, and for completion the mask of its observed entries.

    Args:
        source: Makes the target, shape ``(m, n)``, from its own parameters; from ``seed`` too if it has such a one.
        scale: The target is multiplied by this; not 0.
        observed: Fraction of the entries that completion sees, in (0, 1], or a file of a matrix that is not 0 where
            an entry is observed; None for ``own_mask``, or half of the entries where there is none.
        own_mask: Mask that belongs to the target, not 0 where an entry is observed, shape ``(m, n)``.
        seed: Draws the observed entries.
        **parameters: Parameters of ``source``, such as ``rows``.

    Raises:
        ValueError: For a scale of 0, a fraction outside (0, 1], or a mask of another shape.
    """

    def __init__(
        self,
        source: Callable[..., Tensor],
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
        self._drawn_mask: Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Make the target."""
        self.target = self._source() * self._scale

    @property
    def image(self) -> tuple[int, int] | None:
        """Rows and columns of the image that a row of the target is; None where it is none."""
        return None

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from, and all that it sees.

        Args:
            needs: ``target``: the target; ``entries``: the observed entries alone; ``images``: an operator that gives
                images.
        """
        if needs == "entries":
            return {"entries": Entries.of_matrix(self.target, self.mask())}
        return {"operator" if needs == "images" else "target": self.operator()}

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


def _draw_mask(shape: torch.Size, fraction: float, seed: int) -> Tensor:
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"data.observed must be a fraction in (0, 1], or a mask file. Found {fraction}.")
    entries = shape.numel()
    mask = torch.zeros(entries, dtype=torch.bool)
    chosen = torch.randperm(entries, generator=stream(seed, "observed"))[: max(1, round(fraction * entries))]
    mask[chosen] = True
    return mask.view(shape)
