"""Singular values of a tall matrix and norms of its residuals, by its Gram matrix wherever that does not lose them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.gram import gram_matrix
from eckart.linalg.svd import singular_values

# Longer sides times squares of shorter ones above which a Gram matrix pays off, and the shorter sides that are likely
# to be decomposed in less time than it takes to form it.
_WORK, _SIDE = 4 * 10**9, 1024
# Singular values below this share of the largest one are not taken from a Gram matrix, whose rounding shows in them.
_LOST = 1e-3
# Squared norms of residuals below this share of that of the matrix are not taken from a difference of Gram matrices.
_SMALL = 1e-4


@dataclass(frozen=True)
class TallNorms:
    """What the Gram matrix of the shorter side says of one matrix.

    Attributes:
        matrix: Shape ``(m, n)``, float64.
        gram: ``AᵀA`` or ``AAᵀ``, whichever is smaller.
        spectrum: All singular values, nonincreasing, to about ``1e-12`` of the largest.
    """

    matrix: Tensor
    gram: Tensor
    spectrum: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "TallNorms | None":
        """Those of a matrix; None where it is decomposed in little time, or its Gram matrix tells too little of it.

        The singular values that the Gram matrix would lose are those of the matrix on the eigenvectors of the small
        eigenvalues, a product with few columns.

        Example:
            >>> TallNorms.of(torch.eye(3).double()) is None
            True
        """
        side = min(matrix.shape)
        if side > _SIDE or matrix.numel() * side <= _WORK:
            return None
        tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
        lower = gram_matrix(tall)
        total = float(lower.diagonal().sum())
        # Entries that overflow, or lose digits to underflow.
        if not torch.finfo(lower.dtype).tiny / torch.finfo(lower.dtype).eps < total < math.inf:
            return None
        gram = lower.tril() + lower.tril(-1).mT
        squares, vectors = torch.linalg.eigh(gram)
        lost = int((squares < _LOST**2 * squares[-1]).sum())
        if lost > side // 2:
            return None
        found = [squares[lost:].sqrt()]
        if lost:
            found.append(singular_values(tall @ vectors[:, :lost]))
        return cls(matrix, gram, torch.cat(found).sort(descending=True).values)

    def to(self, matrix: Tensor) -> "TallNorms":
        """The same of a copy of the matrix, on its device."""
        return TallNorms(matrix, self.gram.to(matrix.device), self.spectrum.to(matrix.device))

    def residual(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor] | None:
        """Spectral and Frobenius norm of ``matrix - left @ right``, from two products with the matrix.

        They are those of ``G - C W - Wᵀ Cᵀ + Wᵀ S W`` with the Gram matrix G, the shorter factor W, and the products
        ``C = Aᵀ L`` and ``S = Lᵀ L`` of the longer one.

        Args:
            left: Shape ``(m, k)``, float64.
            right: Shape ``(k, n)``.

        Returns:
            Both to about ``1e-12``, relative; None where one is too small for that, or a factor is not finite.
        """
        tall, long, short = self.matrix, left, right
        if tall.shape[0] < tall.shape[1]:
            tall, long, short = tall.mT, right.mT, left.mT
        cross = (tall.mT @ long) @ short
        square = self.gram - cross - cross.mT + short.mT @ (long.mT @ long) @ short
        frobenius = square.diagonal().sum()
        if not _SMALL * float(self.gram.diagonal().sum()) < float(frobenius) < math.inf:
            return None
        largest = torch.linalg.eigvalsh(square)[-1]
        if float(largest) <= _SMALL * float(self.spectrum[0]) ** 2:
            return None
        return largest.sqrt(), frobenius.sqrt()
