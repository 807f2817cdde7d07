"""Least squares over factor pairs with the left factor eliminated: damped Gauss–Newton steps of the right one."""

from dataclasses import dataclass

import numpy as np

from eckart.optim.compiled import compiled
from eckart.optim.lists import Floats, Integers, Lists

# Conjugate gradients within a step stop at this fraction of the gradient, and after so many steps.
_INNER, _MOST = 0.1, 300


@dataclass
class Projected:
    """A right factor with orthonormal columns, and the left factor with the least residual for it.

    Attributes:
        left: Shape ``(m, k)``, with orthogonal columns of falling norm.
        right: Shape ``(n, k)``.
        basis: Orthonormal bases of the rows of ``right`` that each row of the matrix sees, shape ``(N, k)``.
        residual: ``left @ rightᵀ - values``, shape ``(N,)``.
        cost: ``‖residual‖²``.

    References:
        Golub & Pereyra, SIAM J. Numer. Anal. 10, 1973; Ruhe & Wedin, SIAM Review 22, 1980 (algorithm 2); Okatani,
        Yoshida & Deguchi, ICCV 2011; Hong & Fitzgibbon, ICCV 2015.
    """

    left: Floats
    right: Floats
    basis: Floats
    residual: Floats
    cost: float

    @classmethod
    def at(cls, lists: Lists, right: Floats) -> "Projected":
        """Project on the right factors with the range of one, ``(n, k)``.

        Example:
            >>> lists = Lists.of(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1.0, 2.0, 3.0]), (2, 2))
            >>> projected = Projected.at(lists, np.array([[1.0], [2.0]]))
            >>> (projected.left @ projected.right.T).round(10)
            array([[1., 2.],
                   [3., 6.]])
        """
        right = np.linalg.qr(right)[0]
        found = cls._solve(lists, right)
        # Directions of falling strength: rows with too few entries are solved for the leading ones.
        turn = np.linalg.eigh(found.left.T @ found.left)[1][:, ::-1]
        return cls._solve(lists, np.ascontiguousarray(right @ turn))

    @classmethod
    def _solve(cls, lists: Lists, right: Floats) -> "Projected":
        side, rank = lists.by_row, right.shape[1]
        left, basis = np.zeros((lists.shape[0], rank)), np.zeros((len(lists.values), rank))
        residual = np.zeros(len(lists.values))
        compiled(solve_rows)(side.starts, side.other, lists.values, right, left, basis, residual)
        return cls(left, right, basis, residual, float(residual @ residual))

    @property
    def size(self) -> float:
        """Frobenius norm of ``left @ rightᵀ``."""
        return float(np.linalg.norm(self.left))

    def balanced(self) -> tuple[Floats, Floats]:
        """The pair with the scale shared evenly."""
        scale = np.maximum(np.linalg.norm(self.left, axis=0), np.finfo(float).tiny) ** 0.5
        return self.left / scale, self.right * scale

    def gradient(self, lists: Lists) -> Floats:
        """Gradient of ``½ cost`` with respect to the right factor, ``(n, k)``; that of the left one is zero."""
        return self.adjoint(lists, self.residual)

    def stationarity(self, lists: Lists) -> float:
        """Norm of the gradient in the scaled metric of the balanced pair, relative to that of the entries."""
        scale = np.linalg.norm(self.left, axis=0)
        damped = np.maximum(scale * (scale + 1e-6 * scale.mean()), np.finfo(float).tiny)
        return float((self.gradient(lists) ** 2 / damped).sum() ** 0.5) / lists.norm

    def forward(self, lists: Lists, change: Floats) -> Floats:
        """Change of the residual, to first order, with a change of the right factor, shape ``(N,)``."""
        out = np.zeros(len(lists.values))
        compiled(forward)(lists.by_row.starts, lists.by_row.other, self.left, self.basis, change, out)
        return out

    def adjoint(self, lists: Lists, entries: Floats) -> Floats:
        """The transpose of :meth:`forward`, shape ``(n, k)``."""
        out = np.zeros_like(self.right)
        compiled(adjoint)(lists.by_row.starts, lists.by_row.other, self.left, self.basis, entries, out)
        return out

    def step(self, lists: Lists, damping: float) -> tuple[Floats, float]:
        """Damped Gauss–Newton step of the right factor, and the decrease of the cost that its model predicts.

        Args:
            lists: The entries.
            damping: Multiple of the mean square of a row's share of ``left`` that is added to the normal equations.
        """
        rank = self.left.shape[1]
        shift = damping * self.cost_scale
        blocks = np.zeros((len(self.right), rank, rank))
        compiled(diagonal_blocks)(lists.by_row.starts, lists.by_row.other, self.left, self.basis, blocks)
        floor = np.finfo(float).tiny + 1e-14 * self.cost_scale
        inverse: Floats = np.linalg.inv(blocks + (shift + floor) * np.eye(rank)).astype(np.float64)
        change, rest = self._conjugate_gradients(lists, inverse, shift)
        return change, self.cost - float(rest @ rest) - shift * float((change**2).sum())

    @property
    def cost_scale(self) -> float:
        """Mean square of a row's share of ``left``."""
        return self.size**2 / self.left.shape[1] / len(self.right)

    def _conjugate_gradients(self, lists: Lists, inverse: Floats, shift: float) -> tuple[Floats, Floats]:
        # Least squares by conjugate gradients (CGLS), which keeps the residual; preconditioned by diagonal blocks.
        change, rest = np.zeros_like(self.right), -self.residual
        gradient = self.adjoint(lists, rest)
        natural = np.einsum("nij,nj->ni", inverse, gradient)
        direction, slope = natural, float((gradient * natural).sum())
        enough = _INNER**2 * slope
        for _ in range(_MOST):
            if not slope > enough:
                break
            image = self.forward(lists, direction)
            curvature = float(image @ image) + shift * float((direction**2).sum())
            if not curvature > 0:
                break
            length = slope / curvature
            change = change + length * direction
            rest = rest - length * image
            gradient = self.adjoint(lists, rest) - shift * change
            natural = np.einsum("nij,nj->ni", inverse, gradient)
            slope, before = float((gradient * natural).sum()), slope
            direction = natural + slope / before * direction
        return change, rest


def solve_rows(
    starts: Integers, other: Integers, values: Floats, right: Floats, left: Floats, basis: Floats, residual: Floats
) -> None:
    """Least squares of every row by Gram–Schmidt, twice, on the rows of ``right`` that it sees."""
    rank = right.shape[1]
    root, moment = np.zeros((rank, rank)), np.zeros(rank)
    longest = 0
    for i in range(len(starts) - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    # One direction after the other in memory: the loops over entries take several at once.
    block = np.zeros((rank, longest))
    for i in range(len(starts) - 1):
        begin, count = starts[i], starts[i + 1] - starts[i]
        for e in range(count):
            for a in range(rank):
                block[a, e] = right[other[begin + e], a]
        for a in range(rank):
            first = 0.0
            for e in range(count):
                first += block[a, e] * block[a, e]
            for b in range(a):
                root[b, a] = 0.0
            for _ in range(2):
                for b in range(a):
                    product = 0.0
                    for e in range(count):
                        product += block[b, e] * block[a, e]
                    root[b, a] += product
                    for e in range(count):
                        block[a, e] -= product * block[b, e]
            squared = 0.0
            for e in range(count):
                squared += block[a, e] * block[a, e]
            # A direction that the entries do not determine is left out.
            root[a, a] = np.sqrt(squared) if squared > 1e-26 * first and a < count else 0.0
            for e in range(count):
                block[a, e] = block[a, e] / root[a, a] if root[a, a] > 0 else 0.0
        for a in range(rank):
            moment[a] = 0.0
            for e in range(count):
                moment[a] += block[a, e] * values[begin + e]
        for a in range(rank - 1, -1, -1):
            entry = moment[a]
            for b in range(a + 1, rank):
                entry -= root[a, b] * left[i, b]
            left[i, a] = entry / root[a, a] if root[a, a] > 0 else 0.0
        for e in range(count):
            error = -values[begin + e]
            for a in range(rank):
                error += right[other[begin + e], a] * left[i, a]
                basis[begin + e, a] = block[a, e]
            residual[begin + e] = error


def forward(starts: Integers, other: Integers, left: Floats, basis: Floats, change: Floats, out: Floats) -> None:
    """``u · δv`` for every entry, less its part in the span that the row's own factor reaches."""
    rank = left.shape[1]
    moment = np.zeros(rank)
    for i in range(len(starts) - 1):
        moment[:] = 0.0
        for e in range(starts[i], starts[i + 1]):
            product = 0.0
            for a in range(rank):
                product += change[other[e], a] * left[i, a]
            out[e] = product
            for a in range(rank):
                moment[a] += basis[e, a] * product
        for e in range(starts[i], starts[i + 1]):
            for a in range(rank):
                out[e] -= basis[e, a] * moment[a]


def adjoint(starts: Integers, other: Integers, left: Floats, basis: Floats, entries: Floats, out: Floats) -> None:
    """The transpose of :func:`forward`."""
    rank = left.shape[1]
    moment = np.zeros(rank)
    for i in range(len(starts) - 1):
        moment[:] = 0.0
        for e in range(starts[i], starts[i + 1]):
            for a in range(rank):
                moment[a] += basis[e, a] * entries[e]
        for e in range(starts[i], starts[i + 1]):
            entry = entries[e]
            for a in range(rank):
                entry -= basis[e, a] * moment[a]
            for a in range(rank):
                out[other[e], a] += entry * left[i, a]


def diagonal_blocks(starts: Integers, other: Integers, left: Floats, basis: Floats, out: Floats) -> None:
    """Diagonal blocks of the normal equations, ``(n, k, k)``."""
    rank = left.shape[1]
    for i in range(len(starts) - 1):
        for e in range(starts[i], starts[i + 1]):
            weight = 1.0
            for a in range(rank):
                weight -= basis[e, a] * basis[e, a]
            weight = max(weight, 0.0)
            for a in range(rank):
                for b in range(rank):
                    out[other[e], a, b] += weight * left[i, a] * left[i, b]
