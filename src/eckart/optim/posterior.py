"""A matrix of low rank under Gaussian priors, by variational Bayes: every factor row has a mean and a covariance."""

from dataclasses import dataclass

import numpy as np

from eckart.optim.compiled import compiled
from eckart.optim.lists import Floats, Integers, Lists, Side


@dataclass
class Posterior:
    """What is known of the right factor: independent normal distributions of its rows.

    Entries are ``u · v`` with white noise; ``u`` and ``v`` have independent normal priors of one precision for each
    direction. The precisions and the noise are estimated with the factors. Rows with few entries keep a large
    covariance, and count for less where they meet: that keeps them from running off, as they do in least squares.

    Attributes:
        mean: Shape ``(n, k)``.
        covariance: Shape ``(n, k, k)``.
        precision: Of the prior of each direction, of both factors, falling variance, shape ``(k,)``.
        noise: Variance of what the model does not explain, each entry.
        strength: Variance that each direction explains, falling, shape ``(k,)``.
        spread: Expected squared error of the whole matrix of means, by the model's own account.

    Example:
        >>> target, kept = np.outer(np.arange(1.0, 9), np.arange(1.0, 9)), ~np.eye(8, dtype=bool)
        >>> row, col = kept.nonzero()
        >>> lists = Lists.of(row, col, target[kept], (8, 8))
        >>> posterior = Posterior.begin(lists, np.ones((8, 1)))
        >>> for _ in range(40):
        ...     left = posterior.update(lists, floor=0.01)
        >>> print((left * posterior.mean)[:3, 0].round(3))
        [1. 4. 9.]

    References:
        Lim & Teh, "Variational Bayesian approach to movie rating prediction", KDD Cup 2007; Raiko, Ilin & Karhunen,
        "Principal component analysis for large scale problems with lots of missing values", ECML 2007.
    """

    mean: Floats
    covariance: Floats
    precision: Floats
    noise: float
    strength: Floats
    spread: float

    @classmethod
    def begin(cls, lists: Lists, right: Floats) -> "Posterior":
        """Begin from directions of a right factor, ``(n, k)``; all of the entries count as noise."""
        rank = right.shape[1]
        power = lists.norm**2 / max(len(lists.values), 1)
        variance = (power / rank) ** 0.5
        size = float(np.linalg.norm(right)) / right.size**0.5
        return cls(
            mean=right * (variance**0.5 / size if size > 0 else 1.0),
            covariance=np.zeros((len(right), rank, rank)),
            precision=np.full(rank, 1 / variance),
            noise=power,
            strength=np.full(rank, power / rank),
            spread=np.inf,
        )

    @classmethod
    def resume(cls, lists: Lists, left: Floats, right: Floats) -> "Posterior":
        """Resume from factors ``(m, k)`` and ``(n, k)`` that are good: what they leave counts as noise."""
        rank, (rows, cols) = right.shape[1], lists.shape
        power = lists.norm**2 / max(len(lists.values), 1)
        _, back, strength = _balancing(left.T @ left / rows, right.T @ right / cols)
        seen = lists.by_row.other, np.repeat(np.arange(rows), np.diff(lists.by_row.starts))
        rest = np.einsum("ij,ij->i", left[seen[1]], right[seen[0]]) - lists.values
        noise = max(float(rest @ rest) / max(len(rest), 1), 1e-20 * power)
        return cls(
            mean=right @ back,
            covariance=np.zeros((cols, rank, rank)),
            precision=np.maximum(strength, noise) ** -0.5,
            noise=noise,
            strength=strength,
            spread=np.inf,
        )

    def update(self, lists: Lists, *, floor: float) -> Floats:
        """Update both factors, the noise and the precisions once; the mean of the left factor, shape ``(m, k)``.

        Args:
            lists: The entries.
            floor: Least variance that a direction may explain, as a share of the noise. Without one the estimate of
                the precisions gives up directions that are weaker than the noise that they cause by being absent.
        """
        rank, (rows, cols) = self.mean.shape[1], lists.shape
        left, left_covariance = np.zeros((rows, rank)), np.zeros((rows, rank, rank))
        right, right_covariance = np.zeros((cols, rank)), np.zeros((cols, rank, rank))
        sweep = compiled(posterior_rows)
        known = self.precision, self.noise, lists.values
        sweep(*_of(lists.by_row), *known, self.mean, self.covariance, left, left_covariance)
        squared = sweep(*_of(lists.by_col), *known, left, left_covariance, right, right_covariance)
        self.noise = squared / len(lists.values)
        means = left.T @ left, right.T @ right
        spreads = left_covariance.sum(0), right_covariance.sum(0)
        self.spread = float((spreads[0] * (means[1] + spreads[1])).sum() + (means[0] * spreads[1]).sum())
        turn, back, self.strength = _balancing((means[0] + spreads[0]) / rows, (means[1] + spreads[1]) / cols)
        self.mean = right @ back
        half = (right_covariance.reshape(-1, rank) @ back).reshape(-1, rank, rank).swapaxes(1, 2)
        self.covariance = (half.reshape(-1, rank) @ back).reshape(-1, rank, rank)
        self.precision = np.maximum(self.strength, max(floor * self.noise, np.finfo(float).tiny)) ** -0.5
        return np.asarray(left @ turn.T)


def _of(side: Side) -> tuple[Integers, Integers, Integers]:
    return side.starts, side.other, side.place


def _balancing(left: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
    """``T``, its inverse, and ``d²``, such that ``T left Tᵀ = T⁻ᵀ right T⁻¹ = diag(d)``, with falling ``d``."""
    rank = len(left)
    tiny = np.finfo(float).eps * np.eye(rank)
    root = np.linalg.cholesky(left + tiny * (np.trace(left) / rank + np.finfo(float).tiny))
    squares, turn = np.linalg.eigh(root.T @ right @ root)
    squares, turn = np.maximum(squares[::-1], np.finfo(float).tiny), turn[:, ::-1]
    quarter = squares**0.25
    return quarter[:, None] * np.linalg.solve(root.T, turn).T, (root @ turn) / quarter, squares


def posterior_rows(
    starts: Integers,
    other: Integers,
    place: Integers,
    precision: Floats,
    noise: float,
    values: Floats,
    mean: Floats,
    covariance: Floats,
    out: Floats,
    out_covariance: Floats,
) -> float:
    """Write the posterior of every row for that of the other factor; expected squared residual of all entries."""
    rank = mean.shape[1]
    gram, spread = np.zeros((rank, rank)), np.zeros((rank, rank))
    root, inverse, moment = np.zeros((rank, rank)), np.zeros((rank, rank)), np.zeros(rank)
    total = 0.0
    for i in range(len(starts) - 1):
        gram[:] = 0.0
        spread[:] = 0.0
        moment[:] = 0.0
        for e in range(starts[i], starts[i + 1]):
            j, value = other[e], values[place[e]]
            for a in range(rank):
                moment[a] += value * mean[j, a]
                for b in range(a + 1):
                    gram[a, b] += mean[j, a] * mean[j, b]
                    spread[a, b] += covariance[j, a, b]
        # Cholesky of noise · prior + gram + spread, and its inverse.
        for a in range(rank):
            for b in range(a + 1):
                entry = gram[a, b] + spread[a, b]
                if a == b:
                    entry += noise * precision[a]
                whole = entry
                for c in range(b):
                    entry -= root[a, c] * root[b, c]
                if a == b:
                    root[a, a] = np.sqrt(max(entry, 1e-14 * whole + 1e-300))
                else:
                    root[a, b] = entry / root[b, b]
        for a in range(rank):
            for b in range(a + 1):
                entry = 1.0 if a == b else 0.0
                for c in range(b, a):
                    entry -= root[a, c] * inverse[c, b]
                inverse[a, b] = entry / root[a, a]
        for a in range(rank):
            for b in range(a + 1):
                entry = 0.0
                for c in range(a, rank):
                    entry += inverse[c, a] * inverse[c, b]
                out_covariance[i, a, b] = noise * entry
                out_covariance[i, b, a] = noise * entry
        for a in range(rank):
            entry = 0.0
            for b in range(a + 1):
                entry += inverse[a, b] * moment[b]
            root[a, 0] = entry
        for a in range(rank):
            entry = 0.0
            for b in range(a, rank):
                entry += inverse[b, a] * root[b, 0]
            out[i, a] = entry
        for e in range(starts[i], starts[i + 1]):
            j, error = other[e], values[place[e]]
            for a in range(rank):
                error -= mean[j, a] * out[i, a]
            total += error * error
        for a in range(rank):
            for b in range(a + 1):
                weight = 1.0 if a == b else 2.0
                product = out[i, a] * out[i, b]
                total += weight * (spread[a, b] * product + out_covariance[i, a, b] * (gram[a, b] + spread[a, b]))
    return total
