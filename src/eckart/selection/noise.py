"""The noise of a matrix: how its entries hang together, more draws of noise like it, and what it is in words."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

# Correlations of neighbors that are smaller change the largest singular value by less than its own deviation.
SMALLEST_CORRELATION = 0.05


class Blocks(NamedTuple):
    """Entries that hang together: how many rows and columns, and the correlations of neighbors.

    Attributes:
        rows: Rows of a block; 1 if neighbors in a column are uncorrelated.
        cols: Columns of a block; 1 if neighbors in a row are uncorrelated.
        down: Correlation of neighbors in a column.
        along: Correlation of neighbors in a row.
    """

    rows: int
    cols: int
    down: float
    along: float


def correlated_blocks(noise: Tensor) -> Blocks:
    """Blocks of entries, so large that most of the correlation of neighbors is inside of blocks.

    Args:
        noise: Shape ``(m, n)``; rows and columns may differ in variance, and a few entries may be large.

    Returns:
        The sides of a block, four times the correlation length each, or 1, and the correlations.

    Example:
        >>> noise = torch.randn(50, 80, generator=torch.Generator().manual_seed(0))
        >>> correlated_blocks(noise)[:2], correlated_blocks(noise.repeat_interleave(3, 1))[:2]
        ((1, 1), (1, 12))
    """
    scaled = noise
    for side in (1, 0):
        size = scaled.square().mean(side, keepdim=True).sqrt()
        scaled = scaled / torch.where(size > 0, size, 1)
    scaled = scaled.clamp(-3, 3)
    cols, along = _correlation_length(scaled)
    rows, down = _correlation_length(scaled.mT)
    return Blocks(rows, cols, down, along)


def _correlation_length(scaled: Tensor) -> tuple[int, float]:
    m, n = scaled.shape
    variance = float(scaled.square().mean())
    length, first = 1.0, 0.0
    for lag in range(1, n // 2):
        at_lag = float((scaled[:, lag:] * scaled[:, :-lag]).mean()) / variance if variance else 0.0
        first = at_lag if lag == 1 else first
        if abs(at_lag) < max(SMALLEST_CORRELATION, 3 / (m * (n - lag)) ** 0.5):
            break
        length += 2 * abs(at_lag)
    return (1 if length == 1 else min(round(4 * length), n)), first


def block_signs(shape: tuple[int, int], blocks: Blocks, generator: Generator) -> Tensor:
    """Random signs, the same within a block; blocks of single rows or columns begin at a random place in each.

    Example:
        >>> block_signs((2, 4), Blocks(1, 9, 0.0, 0.9), torch.Generator().manual_seed(1)).shape
        torch.Size([2, 4])
    """
    m, n = shape
    if blocks.rows > 1 and blocks.cols == 1:
        return block_signs((n, m), Blocks(1, blocks.rows, 0, 0), generator).mT
    shift = torch.randint(blocks.cols, (m if blocks.rows == 1 else 1, 1), generator=generator)
    col = (torch.arange(n) + shift) // blocks.cols
    row = (torch.arange(m) + int(torch.randint(blocks.rows, (1,), generator=generator))) // blocks.rows
    signs = 2.0 * torch.randint(2, (int(row[-1]) + 1, int(col.max()) + 1), generator=generator) - 1
    return signs.double()[row[:, None], col]


def noise_spectrum(noise: Tensor, blocks: Blocks, generator: Generator, draws: int) -> Tensor:
    """Singular values of noise like this one: root mean squares over draws with random signs of the blocks.

    Random signs keep the size of each entry and, inside of blocks, how they are correlated; what is left of a signal
    is spread over all singular values.

    Args:
        noise: Shape ``(m, n)``.
        blocks: What keeps its sign together.
        generator: Of the signs.
        draws: How many.

    Returns:
        Nonincreasing, shape ``(min(m, n),)``.

    Example:
        >>> noise_spectrum(torch.eye(2).double(), Blocks(1, 1, 0, 0), torch.Generator(), 3)
        tensor([1., 1.], dtype=torch.float64)
    """
    m, n = noise.shape
    squares = noise.new_zeros(min(m, n))
    for _ in range(draws):
        drawn = noise * block_signs((m, n), blocks, generator).to(noise)
        gram = drawn @ drawn.mT if m <= n else drawn.mT @ drawn
        squares += torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)
    return (squares / draws).sqrt()


def described(noise: Tensor, blocks: Blocks) -> str:
    """What noise looks like, in words.

    Args:
        noise: Shape ``(m, n)``.
        blocks: What is correlated in it.

    Returns:
        Part of a sentence.

    Example:
        >>> described(torch.tensor([[1.0, -1.0, 1.0], [5.0, 5.0, -5.0]]), Blocks(1, 1, 0, 0))
        'noise of rows that differ by 3.3 in size'
    """
    words = []
    sides = (("rows", blocks.cols, blocks.along), ("columns", blocks.rows, blocks.down))
    if correlated := [f"{name} ({value:.2f} between neighbors)" for name, block, value in sides if block > 1]:
        words.append(f"correlated along {' and '.join(correlated)}")
    for side, name in ((1, "rows"), (0, "columns")):
        sizes = noise.square().mean(side).sqrt()
        ratio = float(sizes.quantile(0.9) / sizes.quantile(0.1).clamp(min=1e-300))
        # Twice as much as the deviations of equal sizes.
        if ratio > max(1 + 2 * 2.56 / (2 * noise.shape[side]) ** 0.5, 1.2):
            words.append(f"of {name} that differ by {ratio:.1f} in size")
    # Normal entries have a median size of .67 deviations.
    sizes = (noise.abs() / (noise.abs().median(1, keepdim=True).values / 0.6745).clamp(min=1e-300)).amax()
    if float(sizes) > 8:
        words.append(f"with entries up to {float(sizes):.0f} deviations")
    return "noise " + (", ".join(words) if words else "of independent entries")
