"""The arrays that pictures of matrices show: entries, means of blocks, or the images that rows are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.random import stream
from eckart.linalg.svd import truncated_svd

Factors = tuple[Tensor, Tensor]

# Below it the exact SVD is as fast as any other.
_SMALL = 50
_OVERSAMPLING = 8
_MOST_ROUNDS = 6


@dataclass(frozen=True)
class Panels:
    """Arrays of one shape, and what they are.

    Attributes:
        arrays: The target, then each approximation, float64, on the CPU.
        drawn: What an entry of them is.
        place: First and last row, first and last column of the target that they are from, counted from 1; None if
            they are images.
    """

    arrays: tuple[Tensor, ...]
    drawn: str
    place: tuple[int, int, int, int] | None = None


def means(target: Tensor, approximations: Sequence[Factors], limit: int) -> Panels:
    """A target and its approximations with at most ``limit`` rows and columns: means of equal blocks of entries.

    An approximation is reduced as its factors are, and never formed at the size of the target.

    Args:
        target: Shape ``(m, n)``.
        approximations: Factors ``(m, k)`` and ``(k, n)`` of each.
        limit: Rows and columns at most.

    Example:
        >>> panels = means(torch.arange(8.0).reshape(2, 4), [(torch.ones(2, 1), torch.ones(1, 4))], limit=2)
        >>> panels.drawn, panels.arrays[0]
        ('means of 1 × 2 entries', tensor([[0.5000, 2.5000],
                [4.5000, 6.5000]], dtype=torch.float64))
    """
    rows, cols = (-(-size // limit) for size in target.shape)
    products = [_pooled(left, rows, 1) @ _pooled(right, 1, cols) for left, right in approximations]
    drawn = "entries" if rows == cols == 1 else f"means of {rows} × {cols} entries"
    return Panels((_pooled(target, rows, cols), *products), drawn, (1, target.shape[0], 1, target.shape[1]))


def window(target: Tensor, approximations: Sequence[Factors], limit: int) -> Panels:
    """The entries of the first ``limit`` rows and columns.

    Args:
        target: Shape ``(m, n)``.
        approximations: Factors ``(m, k)`` and ``(k, n)`` of each.
        limit: Rows and columns at most.

    Example:
        >>> window(torch.eye(9), [], limit=2).drawn
        'its first 2 rows and columns'
    """
    rows, cols = (min(limit, size) for size in target.shape)
    products = [left[:rows].double() @ right[:, :cols].double() for left, right in approximations]
    sizes = ((rows, len(target), "rows"), (cols, target.shape[1], "columns"))
    names = [f"{count} {name}" for count, size, name in sizes if count < size]
    drawn = "its first " + (f"{rows} rows and columns" if rows == cols and len(names) == 2 else " and ".join(names))
    return Panels((target[:rows, :cols].double(), *products), drawn, (1, rows, 1, cols))


def looks_like_noise(target: Tensor) -> bool:
    """Whether neighboring entries have nothing in common, so that means of blocks would hide all that there is.

    The means of pairs of independent entries have half of their variance, and those of 2 × 2 blocks a quarter.

    Args:
        target: Shape ``(m, n)``.

    Example:
        >>> noise = torch.randn(60, 60, generator=torch.Generator().manual_seed(0))
        >>> looks_like_noise(noise), looks_like_noise(torch.linspace(0, 1, 60).outer(torch.ones(60)))
        (True, False)
    """
    rows, cols = (min(2, size) for size in target.shape)
    # Some hundred rows and columns tell it.
    part = target[:500, :500].double()
    centered = part - part.mean()
    whole = centered.square().mean()
    return bool(_pooled(centered, rows, cols).square().mean() * rows * cols < 1.4 * whole)


def mosaic(target: Tensor, approximations: Sequence[Factors], image: tuple[int, int], limit: int) -> Panels:
    """The first rows of a target and of its approximations as the images that they are, in a square of up to 4 × 4.

    Args:
        target: Shape ``(m, n)``.
        approximations: Factors ``(m, k)`` and ``(k, n)`` of each.
        image: Rows and columns of an image; their product is ``n``.
        limit: Rows and columns of the square at most, unless a single image has more: its blocks are averaged then.

    Example:
        >>> mosaic(torch.eye(4), [], image=(2, 2), limit=5).arrays[0]
        tensor([[1., 0., 0., 0., 1.],
                [0., 0., 0., 0., 0.],
                [0., 0., 0., 0., 0.],
                [0., 0., 0., 0., 0.],
                [1., 0., 0., 0., 1.]], dtype=torch.float64)
    """
    side = max(1, min(4, (limit + 1) // (max(image) + 1), int(len(target) ** 0.5)))
    count = side**2
    parts = [target[:count], *(left[:count] @ right for left, right in approximations)]
    rows, cols = image[0] + 1, image[1] + 1
    squares = [
        # A row and a column of zeros keep two images apart.
        torch.nn.functional.pad(part.double().reshape(side, side, *image), (0, 1, 0, 1))
        .transpose(1, 2)
        .reshape(side * rows, side * cols)[:-1, :-1]
        for part in parts
    ]
    reduced = means(squares[0], [], limit).drawn
    drawn = f"first {count} images" + ("" if reduced == "entries" else f", {reduced}")
    rows, cols = (-(-size // limit) for size in squares[0].shape)
    return Panels(tuple(_pooled(square, rows, cols) for square in squares), drawn)


def best(target: Tensor, rank: int, near: Factors, optimum: float) -> Factors:
    """Factors of a best approximation, to the eye: its error is the optimum to a thousandth.

    A small target is decomposed. A large one is iterated from a sketch and from factors that may be near already, so
    that a trained approximation that is a best one costs a round.

    Args:
        target: Shape ``(m, n)``.
        rank: The rank k.
        near: Factors of a trained approximation.
        optimum: Relative Frobenius error of the best approximation.
    """
    if min(target.shape) <= _SMALL:
        u, s, vh = truncated_svd(target, rank)
        return u * s, vh
    left = near[0].to(target)
    if not left.isfinite().all():
        left = left[:, :0]
    width = min(rank + _OVERSAMPLING, *target.shape)
    sketch = torch.randn(target.shape[1], width, dtype=target.dtype, generator=stream(0, "picture"))
    # Columns of one length, so that none is lost in the rounding of others.
    basis = left / torch.linalg.vector_norm(left, dim=0).clamp(min=torch.finfo(left.dtype).tiny)
    energy = target.square().sum()
    for done in range(_MOST_ROUNDS):
        if basis.shape[1] >= rank:
            q = torch.linalg.qr(basis)[0]
            images = q.mT @ target
            u, s, vh = torch.linalg.svd(images, full_matrices=False)
            error = (1 - s[:rank].square().sum() / energy).clamp(min=0).sqrt()
            if error <= 1.001 * optimum + 1e-6:
                break
        if not done:
            basis = torch.cat([basis, target @ sketch], dim=1)[:, : min(target.shape)]
        basis = target @ (target.mT @ torch.linalg.qr(basis)[0])
    return (q @ u)[:, :rank] * s[:rank], vh[:rank]


def _pooled(matrix: Tensor, rows: int, cols: int) -> Tensor:
    if rows == cols == 1:
        return matrix.double()
    # The last block has fewer entries, and is the mean of those.
    return torch.nn.functional.avg_pool2d(matrix.double()[None], (rows, cols), ceil_mode=True)[0]


def like(shown: Panels, entries: Tensor) -> Tensor:
    """The part of a matrix with missing entries that panels show: the mean of those of a block that are known.

    Args:
        shown: The panels; no images.
        entries: Shape ``(m, n)``, NaN in the place of those that are missing.

    Example:
        >>> entries = torch.tensor([[1.0, torch.nan, 2.0, 4.0]])
        >>> like(means(torch.ones(1, 4), [], limit=2), entries)
        tensor([[1., 3.]], dtype=torch.float64)
    """
    assert shown.place is not None
    part = entries[: shown.place[1], : shown.place[3]].double()
    rows, cols = (-(-whole // cells) for whole, cells in zip(part.shape, shown.arrays[0].shape, strict=True))
    known = _pooled((~part.isnan()).double(), rows, cols)
    return _pooled(part.nan_to_num(0.0), rows, cols) / torch.where(known > 0, known, torch.nan)
