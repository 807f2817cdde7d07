"""Matrices of known law for the tests."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.linalg.entries import Entries


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Independent standard normal entries, drawn in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_spectrum(rows: int, cols: int, spectrum: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Tensor:
    """Matrix of the given nonzero singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((side, len(spectrum))))[0] for side in (rows, cols))
    return torch.from_numpy((u * np.asarray(spectrum)) @ v.T)


def starting_factors(targets: Tensor, ranks: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian factors whose product has about the norm of the target, zero beyond the rank of each member."""
    stack, rows, cols = targets.shape
    left = torch.zeros(stack, rows, max(ranks), dtype=torch.float64)
    right = torch.zeros(stack, max(ranks), cols, dtype=torch.float64)
    for member, rank in enumerate(ranks):
        # Each member has draws of its own, so that it has the same start alone.
        draw = np.random.default_rng(seed + 1000 * rank)
        deviation = (float(torch.linalg.matrix_norm(targets[member])) / math.sqrt(rows * cols * rank)) ** 0.5
        left[member, :, :rank] = torch.from_numpy(draw.standard_normal((rows, rank))) * deviation
        right[member, :rank] = torch.from_numpy(draw.standard_normal((rank, cols))) * deviation
    return left, right


def observed_of(targets: Tensor, observed: Tensor | None = None) -> list[Entries]:
    """Observed entries of each matrix of a stack: those of a mask, or those that are not NaN."""
    masks = ~targets.isnan() if observed is None else observed
    return [Entries.of_matrix(target, mask) for target, mask in zip(targets, masks, strict=True)]
