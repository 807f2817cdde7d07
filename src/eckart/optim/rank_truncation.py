"""Rules that truncate the ranks of layers during training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class Spectrum(NamedTuple):
    """What a truncation of a layer goes by, shape ``(r,)`` each.

    Attributes:
        values: Singular values, nonincreasing.
        sensitivities: Of each, how much the loss of a batch changes without it, to first order: the mean over batches
            of ``(s_i u_iᵀ G v_i)²``, G the gradient by the weight. Zero where nothing was measured.
    """

    values: Tensor
    sensitivities: Tensor


Truncation = Callable[[Sequence[Spectrum]], Sequence[Sequence[int]]]
"""Chooses the places of the singular values that are kept, for all layers together; at least one of each."""


class Tolerance:
    """Truncation of each layer by itself: a relative error that may not be exceeded.

    The smallest singular values are dropped as long as the root of the sum of their squares is at most ``τ ‖S‖``.

    Args:
        tolerance: Relative error τ of a truncation, in the Frobenius norm; in (0, 1).

    Raises:
        ValueError: If τ is outside (0, 1).

    Example:
        >>> import torch
        >>> values = torch.tensor([1.0, 0.5, 0.09, 0.02])
        >>> Tolerance(0.1)([Spectrum(values, torch.zeros(4))])
        [[0, 1]]
    """

    def __init__(self, tolerance: float) -> None:
        if not 0 < tolerance < 1:
            raise ValueError(f"The tolerance must satisfy 0 < tolerance < 1. Found {tolerance}.")
        self.tolerance = tolerance

    def __call__(self, spectra: Sequence[Spectrum]) -> list[list[int]]:
        """Places of the singular values that are kept, from the first."""
        kept = []
        for values, _ in spectra:
            # From the smallest on, so that a small tail is not what rounding leaves of two large sums.
            tails = values.double().square().flip(0).cumsum(0).flip(0).sqrt()
            kept.append(list(range(max(1, int((tails > self.tolerance * tails[0]).sum())))))
        return kept
