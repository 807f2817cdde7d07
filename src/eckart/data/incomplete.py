"""Low-rank matrices of known condition, and masks that observe some of their entries: the problems of completion."""

from typing import Any

import torch
from torch import Tensor

from eckart.data.matrix import MatrixData
from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank

PATTERNS = ("uniform", "power_law", "blocks")


class IncompleteMatrix(MatrixData):
    """A target with a mask of its own, drawn by :func:`mask`, unless ``observed`` gives another.

    Args:
        source: As in :class:`MatrixData`; its parameters hold ``rows``, ``cols`` and ``rank``.
        oversampling: As of :func:`mask`.
        pattern: Likewise.
        seed: Draws the target and the mask.
        **common: As in :class:`MatrixData`.
    """

    def __init__(self, source: Any, *, oversampling: float, pattern: str, seed: int = 0, **common: Any) -> None:
        super().__init__(source, seed=seed, **common)
        self._drawn_by = oversampling, pattern, seed
        self._rank = int(common["rank"])

    def _mask(self) -> Tensor:
        if self._observed is not None:
            return super()._mask()
        rows, cols = self.target.shape
        oversampling, pattern, seed = self._drawn_by
        return mask(rows, cols, self._rank, oversampling, pattern, seed)


def conditioned(rows: int, cols: int, rank: int, condition: float, noise: float, seed: int) -> Tensor:
    """Matrix with random singular vectors and log-spaced singular values from ``condition`` down to 1.

    Args:
        rows: At least 1.
        cols: At least 1.
        rank: Its rank, ``1 <= rank <= min(rows, cols)``.
        condition: Largest singular value over the smallest, at least 1.
        noise: Frobenius norm of Gaussian noise that is added, relative to that of the matrix.
        seed: Seed of the run; the same seed gives the same matrix.

    Returns:
        Float64, shape ``(rows, cols)``.

    Raises:
        ValueError: If a size, the rank, the condition or the noise is out of its range.

    Example:
        >>> torch.linalg.svdvals(conditioned(30, 20, rank=3, condition=100.0, noise=0.0, seed=0))[:4].round(decimals=8)
        tensor([100.,  10.,   1.,   0.], dtype=torch.float64)
    """
    require_count("rows", rows)
    require_count("cols", cols)
    check_rank(rank, (rows, cols))
    if condition < 1:
        raise ValueError(f"condition must be at least 1. Found {condition}.")
    if noise < 0:
        raise ValueError(f"noise must not be negative. Found {noise}.")
    generator = stream(seed, "target")
    drawn = [torch.randn(side, rank, dtype=torch.float64, generator=generator) for side in (rows, cols)]
    left, right = (torch.linalg.qr(part).Q for part in drawn)
    spectrum = torch.logspace(0, 1, rank, base=condition, dtype=torch.float64).flip(0)
    matrix = (left * spectrum) @ right.mT
    if noise == 0:
        return matrix
    error = torch.randn(rows, cols, dtype=torch.float64, generator=generator)
    return matrix + error * (noise * torch.linalg.matrix_norm(matrix) / torch.linalg.matrix_norm(error))


def mask(rows: int, cols: int, rank: int, oversampling: float, pattern: str, seed: int) -> Tensor:
    """Which entries are observed: as many as the degrees of freedom of the rank, times the oversampling.

    Each row and each column gets at least ``rank`` entries: where the draw gives fewer, entries are moved there from
    rows and columns that have more.

    Args:
        rows: At least 1.
        cols: At least 1.
        rank: ``1 <= rank <= min(rows, cols)``.
        oversampling: Observed entries over ``rank (rows + cols - rank)``.
        pattern: ``uniform``; ``power_law``: row i and column j are observed in proportion to ``1 / sqrt(i j)``;
            ``blocks``: entries of four blocks on the diagonal are observed eight times as often as others.
        seed: Seed of the run.

    Returns:
        Bool, shape ``(rows, cols)``.

    Raises:
        ValueError: For an unknown pattern, or if there are not so many entries, or too few for every row and column.

    Example:
        >>> observed = mask(30, 20, rank=2, oversampling=1.5, pattern="uniform", seed=0)
        >>> int(observed.sum()), int(observed.sum(0).min()) >= 2, int(observed.sum(1).min()) >= 2
        (144, True, True)
    """
    require_one_of("pattern", pattern, PATTERNS)
    check_rank(rank, (rows, cols))
    count = round(oversampling * rank * (rows + cols - rank))
    least = rank * max(rows, cols)
    if not least <= count <= rows * cols:
        law = f"oversampling must give from {least} to {rows * cols} entries of a {rows}×{cols} matrix of rank {rank}"
        raise ValueError(f"{law}. Found oversampling={oversampling}, which gives {count}.")
    generator = stream(seed, "observed")
    # The largest of these keys are a draw without replacement, in proportion to the weights.
    keys = _log_weights(rows, cols, pattern) - (-torch.rand(rows, cols, generator=generator).log()).log()
    observed = torch.zeros(rows * cols, dtype=torch.bool)
    observed[keys.flatten().topk(count).indices] = True
    observed = observed.view(rows, cols)
    while _moved(observed, rank, generator) or _moved(observed.mT, rank, generator):
        pass
    return observed


def _log_weights(rows: int, cols: int, pattern: str) -> Tensor:
    if pattern == "uniform":
        return torch.zeros(rows, cols)
    if pattern == "power_law":
        row, col = (-torch.arange(1, side + 1).log() / 2 for side in (rows, cols))
        return row[:, None] + col
    block = [torch.arange(side) * 4 // side for side in (rows, cols)]
    return torch.where(block[0][:, None] == block[1], 8.0, 1.0).log()


def _moved(observed: Tensor, least: int, generator: torch.Generator) -> bool:
    """Give the first row that has too few entries one more, in place; whether there was one."""
    by_row, by_col = observed.sum(1), observed.sum(0)
    short = (by_row < least).nonzero()
    if not len(short):
        return False
    row = int(short[0])

    def drawn(places: Tensor) -> Tensor:
        return places[int(torch.randint(len(places), (1,), generator=generator))]

    spare = observed & (by_row > least)[:, None]
    # Not from a column that would become too short, unless every other is.
    easy = spare & (by_col > least)
    taken = drawn((easy if easy.any() else spare).nonzero())
    observed[int(taken[0]), int(taken[1])] = False
    observed[row, int(drawn((~observed[row]).nonzero()[:, 0]))] = True
    return True
