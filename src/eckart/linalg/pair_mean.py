"""The mean of many products of factor pairs, kept as one pair."""

import torch
from torch import Tensor

from eckart.linalg.svd import factor_svd


class PairMean:
    """The mean of products ``left @ right`` of rank k, as a pair of limited rank.

    The mean of many products has the rank of all of them together. Those of samples of one distribution have nearly
    the same row and column spaces, so little of it lies beyond a rank near k: after each product the pair is truncated
    to ``width`` by its SVD, which by Eckart-Young is the best that a pair of that rank can do.

    Args:
        left: Room for the left factor, shape ``(m, width)``, zero; kept up to date in place.
        right: Room for the right factor, shape ``(width, n)``, zero.

    Example:
        >>> mean = PairMean(torch.zeros(2, 2), torch.zeros(2, 2))
        >>> mean.add(torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0, 0.0]]), count=0)
        >>> mean.add(torch.tensor([[0.0], [4.0]]), torch.tensor([[0.0, 1.0]]), count=1)
        >>> torch.allclose(mean.left @ mean.right, torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        True
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left, self.right = left, right

    def add(self, left: Tensor, right: Tensor, count: int) -> None:
        """Take a product into the mean of ``count`` others: ``left (m, k)``, ``right (k, n)``, k at most the width."""
        share, width = count / (count + 1), self.left.shape[1]
        u, s, vh = factor_svd(
            torch.cat([self.left * share, left / (count + 1)], dim=1), torch.cat([self.right, right.to(self.right)])
        )
        kept = min(width, len(s))
        root = s[:kept].sqrt()
        self.left[:, :kept], self.right[:kept] = u[:, :kept] * root, root[:, None] * vh[:kept]

    def truncated(self, rank: int) -> tuple[Tensor, Tensor]:
        """The best pair of a rank: ``(m, rank)`` and ``(rank, n)``; the columns of the room are in order already."""
        return self.left[:, :rank], self.right[:rank]
