"""The rank of a matrix of which some entries are known: withheld entries tell."""

import math

import numpy as np
import torch

from eckart.linalg.checks import require_count
from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection.alternating import AlternatingFit
from eckart.selection.screenot import default_upper

# Below this share of the error of rank 0 the entries are free of noise.
WITHOUT_NOISE = 1e-10


def withheld(
    entries: Entries, *, seed: int = 0, folds: int | None = None, share: float | None = None, kmax: int | None = None
) -> tuple[int, str]:
    """The rank that predicts withheld entries best.

    The entries are dealt at random into parts. In turn one of them is withheld, and factors of rank 1, 2, ... are
    fitted to the others until two more ranks did not improve. Fewer entries make the best rank smaller, so parts are
    small: a twentieth of less than 5,000 entries, a tenth of more.

    Args:
        entries: The observed entries.
        seed: Seed of the parts.
        folds: How many parts are withheld in turn; all if None, and fewer of them for 10^5 entries and more.
        share: Share of the entries in a part, in (0, 0.5].
        kmax: Largest rank that is tried.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If a setting is outside of its range, or there are fewer than 4 entries.

    Example:
        >>> row, col = torch.arange(1.0, 13.0), torch.arange(1.0, 10.0)
        >>> matrix = torch.outer(row, col)
        >>> observed = torch.rand(matrix.shape, generator=stream(0, "example")) < 0.7
        >>> withheld(Entries.of_matrix(matrix, observed))[0]
        1

    References:
        Wold, Technometrics 20(4), 1978.
    """
    count = len(entries)
    if count < 4:
        raise ValueError(f"Withholding entries needs at least 4 of them. Found {count}.")
    if share is None:
        share = 0.05 if count < 5_000 else 0.1
    if not 0 < share <= 0.5:
        raise ValueError(f"share must be in (0, 0.5]. Found {share}.")
    folds = max(1, min(int(1 / share), 1_000_000 // count)) if folds is None else folds
    require_count("folds", folds)
    limit = _largest_rank(entries, (1 - share) * count, kmax)
    place = torch.randperm(count, generator=stream(seed, "withheld")).argsort()
    part = (place / (share * count)).long()
    validations = [_Validation(entries, part == fold) for fold in range(min(folds, int(1 / share)))]
    errors = [sum(validation.error for validation in validations)]
    while len(errors) <= limit and len(errors) - int(np.argmin(errors)) < 3:
        errors.append(sum(validation.next_rank() for validation in validations))
        if errors[-1] <= 1e-20 * errors[0]:
            break
    rank = int(np.argmin(errors))
    if errors[rank] < WITHOUT_NOISE * errors[0]:
        falls = np.array(errors[:-1]) / np.maximum(errors[1:], 1e-26 * errors[0])
        return int(falls.argmax()) + 1, "without noise: this rank predicts withheld entries exactly"
    saved = 1 - (errors[rank] / errors[0]) if errors[0] > 0 else 0.0
    return rank, f"rank {rank} predicts withheld entries best: {saved:.1%} less squared error than rank 0"


class _Validation:
    """A fit to the entries that are not withheld, and its squared error on those that are."""

    def __init__(self, entries: Entries, held: torch.Tensor) -> None:
        self.held = entries[held]
        self.fit = AlternatingFit(entries[~held])
        self.error = float(self.held.norm() ** 2)

    def next_rank(self) -> float:
        self.fit.grow()
        found = self.fit.predict(self.held.row.cpu().numpy(), self.held.col.cpu().numpy())
        self.error = float(((self.held.value.double().cpu().numpy() - found) ** 2).sum())
        return self.error


def observed_energy(entries: Entries, *, share: float = 0.99) -> tuple[int, str]:
    """Least rank whose fit holds at least ``share`` of the squared norm of the observed entries.

    Args:
        entries: The observed entries.
        share: Share to hold, between 0 and 1, not 0.

    Returns:
        The rank and the reason.

    Raises:
        ValueError: If the share is not in ``(0, 1]``.

    Example:
        >>> observed_energy(Entries.of_matrix(torch.outer(torch.arange(1.0, 9.0), torch.ones(7))))[0]
        1
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]. Found {share}.")
    fit, limit = AlternatingFit(entries), _largest_rank(entries, len(entries), None)
    total, rank = fit.error, 0
    while rank < limit and fit.error > max(1 - share, 1e-20) * total:
        fit.grow()
        rank += 1
    held = 1 - fit.error / total if total else 1.0
    return rank, f"holds {held:.2%} of the squared norm of the observed entries, {share:.2%} were asked"


def observed_information(entries: Entries, *, kmax: int | None = None) -> tuple[int, str]:
    r"""Bai and Ng's :math:`IC_{p2}` with the mean squared residual of the observed entries, N of them.

    The penalty of a rank is :math:`(m + n) / N \cdot \log \min(m, n)`.

    Args:
        entries: The observed entries.
        kmax: Largest rank that is tried.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If ``kmax`` is not an integer of at least 1.

    Example:
        >>> noise = 0.1 * torch.randn(20, 15, generator=stream(0, "example"))
        >>> observed_information(Entries.of_matrix(noise + torch.outer(torch.arange(20.0), torch.ones(15))))[0]
        1
    """
    m, n = entries.shape
    count = len(entries)
    limit = _largest_rank(entries, count, kmax or default_upper(entries.shape) or 1)
    fit, penalty = AlternatingFit(entries), (m + n) / count * math.log(min(m, n))
    total = fit.error
    criteria = [math.log(max(total, 1e-300))]
    for rank in range(1, limit + 1):
        fit.grow()
        if fit.error <= 1e-20 * total:
            return rank, "without noise: this rank fits the observed entries exactly"
        criteria.append(math.log(fit.error) + rank * penalty)
    rank = int(np.argmin(criteria))
    return rank, f"IC_p2 of Bai and Ng on the observed entries is least at rank {rank}, of 0 to {limit}"


def _largest_rank(entries: Entries, count: float, kmax: int | None) -> int:
    """The largest rank with fewer degrees of freedom than entries, and at most ``kmax``."""
    if kmax is not None:
        require_count("kmax", kmax)
    m, n = entries.shape
    ranks = range(1, min(kmax or min(m, n), min(m, n)) + 1)
    return max((rank for rank in ranks if rank * (m + n - rank) < count), default=1)
