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
    """

    arrays: tuple[Tensor, ...]
    drawn: str


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
    return Panels((_pooled(target, rows, cols), *products), drawn)


def mosaic(target: Tensor, approximations: Sequence[Factors], image: tuple[int, int], limit: int) -> Panels:
    """The first rows of a target and of its approximations as the images that they are, in a square of up to 4 × 4.

    Args:
        target: Shape ``(m, n)``.
        approximations: Factors ``(m, k)`` and ``(k, n)`` of each.
        image: Rows and columns of an image; their product is ``n``.
        limit: Rows and columns of the square at most, unless a single image has more: its blocks are averaged then.

    Example:
        >>> mosaic(torch.eye(4), [], image=(2, 2), limit=4).arrays[0]
        tensor([[1., 0., 0., 1.],
                [0., 0., 0., 0.],
                [0., 0., 0., 0.],
                [1., 0., 0., 1.]], dtype=torch.float64)
    """
    side = max(1, min(4, limit // max(image), int(len(target) ** 0.5)))
    count = side**2
    parts = [target[:count], *(left[:count] @ right for left, right in approximations)]
    squares = [
        part.double().reshape(side, side, *image).transpose(1, 2).reshape(side * image[0], side * image[1])
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
    unit = left / torch.linalg.vector_norm(left, dim=0).clamp(min=torch.finfo(left.dtype).tiny)
    basis = torch.cat([unit, target @ sketch], dim=1)[:, : min(target.shape)]
    energy = target.square().sum()
    for _ in range(_MOST_ROUNDS):
        basis = torch.linalg.qr(target @ (target.mT @ torch.linalg.qr(basis)[0]))[0]
        u, s, vh = torch.linalg.svd(basis.mT @ target, full_matrices=False)
        error = (1 - s[:rank].square().sum() / energy).clamp(min=0).sqrt()
        if error <= 1.001 * optimum + 1e-6:
            break
    return (basis @ u)[:, :rank] * s[:rank], vh[:rank]


def _pooled(matrix: Tensor, rows: int, cols: int) -> Tensor:
    if rows == cols == 1:
        return matrix.double()
    # The last block has fewer entries, and is the mean of those.
    return torch.nn.functional.avg_pool2d(matrix.double()[None], (rows, cols), ceil_mode=True)[0]
