"""Bi-cross-validation: a block of rows and columns is predicted from the others."""

import torch
from torch import Tensor

from eckart.linalg.checks import require_count
from eckart.linalg.random import stream
from eckart.selection.spectrum import Spectrum


def cross_validation(
    spectrum: Spectrum, *, seed: int = 0, folds: tuple[int, int] = (2, 2), repeats: int = 4, kmax: int | None = None
) -> tuple[int, str]:
    """The rank that predicts withheld blocks best.

    Rows and columns are dealt at random into folds. The block A of one fold of rows and one of columns is predicted by
    ``B pinv(D_k) C``: B has its rows, C its columns, D neither, and ``D_k`` is the best approximation of D of rank k.
    Halves are what the authors recommend: small blocks choose too large ranks. A half of the rows and columns shows
    less of a weak component than the whole, so ranks are rather too small than too large.

    Args:
        spectrum: The matrix.
        seed: Seed of the folds.
        folds: Number of folds of rows and of columns, at least 2 each and at most as many as there are.
        repeats: How often rows and columns are dealt.
        kmax: Largest rank that is tried; as many as D allows if None.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If a setting is outside of its range.

    Example:
        >>> a = torch.randn(40, 20, generator=stream(0, "example"))
        >>> cross_validation(Spectrum(a + 3 * torch.ones(40, 1) @ a[:1]))[0]
        1

    References:
        Owen & Perry, Annals of Applied Statistics 3(2), 2009.
    """
    require_count("repeats", repeats)
    for count, side in zip(folds, spectrum.shape, strict=True):
        if not 2 <= count <= side:
            law = f"folds must be from 2 to the numbers of rows and columns, {spectrum.shape}"
            raise ValueError(f"{law}. Found {tuple(folds)}.")
    generator = stream(seed, "folds")
    found = []
    for _ in range(repeats):
        rows, cols = (
            torch.randperm(side, generator=generator).chunk(count)
            for side, count in zip(spectrum.shape, folds, strict=True)
        )
        found += [block_errors(spectrum.matrix, row, col) for row in rows for col in cols]
    tried = min(len(errors) for errors in found)
    if kmax is not None:
        require_count("kmax", kmax)
        tried = min(tried, kmax + 1)
    errors = torch.stack([errors[:tried] for errors in found]).sum(0)
    rank = int(errors.argmin())
    left = float(errors[rank] / errors[0]) if errors[0] > 0 else 1.0
    return rank, f"rank {rank} predicts withheld blocks best, with {left:.2g} of the squared error of rank 0"


def block_errors(matrix: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Squared error of the prediction of one block from the rest of the matrix, at each rank.

    Args:
        matrix: Shape ``(m, n)``.
        rows: Indices of the rows of the block, shape ``(p,)``, ``p < m``.
        cols: Indices of its columns, shape ``(q,)``, ``q < n``.

    Returns:
        The errors at the ranks 0, 1, ... as far as the rest has singular values above roundoff.

    Example:
        >>> row, col = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
        >>> block_errors(torch.outer(row, col), torch.tensor([0]), torch.tensor([1]))
        tensor([1., 0.])
    """
    held, kept = (torch.ones(side, dtype=torch.bool) for side in matrix.shape)
    held[rows], kept[cols] = False, False
    block = matrix[rows][:, cols]
    u, s, vh = torch.linalg.svd(matrix[held][:, kept], full_matrices=False)
    rank = int((s > max(matrix.shape) * torch.finfo(s.dtype).eps * s[0]).sum())
    left = (matrix[rows][:, kept] @ vh[:rank].mT) / s[:rank]
    right = u[:, :rank].mT @ matrix[held][:, cols]
    # The prediction of rank k is the sum of the first k outer products of left and right.
    fitted = torch.einsum("pk,pq,kq->k", left, block, right).cumsum(0)
    sizes = ((left.mT @ left) * (right @ right.mT)).cumsum(0).cumsum(1).diagonal()
    errors = block.square().sum() - 2 * fitted + sizes
    return torch.cat([block.square().sum()[None], errors]).clamp(min=0)
